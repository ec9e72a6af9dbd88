//! `carafe verify`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use carafe_builder::spec::Network;
use carafe_layers::diff::{DuplicateBlobs, ImagePair};
use clap::Args;
use miette::miette;

use super::exit;
use super::inputs::{RunArguments, SandboxArguments};
use crate::build::recording;
use crate::bundle;
use crate::bundle::Bundle;
use crate::context::Context;
use crate::diff::report::DiffReport;
use crate::diff::{Opened, read, reading};
use crate::images::ImageName;
use crate::output::Form;
use crate::pipeline;
use crate::transfer::referrers;
use crate::verify::report::VerifyReport;
use crate::verify::{Claims, Level, rebuilt};

/// Arguments of `carafe verify`.
#[derive(Args)]
pub struct VerifyArguments {
    /// The image: a reference, a layout's directory, oci:DIRECTORY[:REF] or docker-archive:FILE[:TAG]
    image: ImageName,
    /// What has to be the same
    #[arg(long, value_enum, default_value_t = Level::Bytes)]
    level: Level,
    /// Where the spec lay: apps and images that the lock names by relative paths are taken from here
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// Take the inputs from this bundle, or from several: the first is the bundle, the others may have
    /// what it lacks
    #[arg(long, value_name = "BUNDLE")]
    bundle: Vec<ImageName>,
    /// Answer bench from this record, as it lay beside the lock
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    record: Option<PathBuf>,
    /// Ask nothing outside of this machine, but for the image itself
    #[arg(long)]
    offline: bool,
    /// Leave the rebuilt image in this directory as an OCI layout
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
    /// Print tables in Markdown, for a merge request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print every difference, not the first 20 of each kind
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    sandbox: SandboxArguments,
    #[command(flatten)]
    run: RunArguments,
}

pub fn run(arguments: &VerifyArguments) -> miette::Result<u8> {
    let context = arguments.run.context(None, &[], (&arguments.sandbox).into())?;
    let image = Opened::open(&arguments.image, &context)?;
    let network = Network::of_user(&|name| std::env::var(name).ok())?;
    let claims = Claims::read(&image, arguments.level, arguments.directory.as_deref(), network)?;
    let bundle = open_bundle(arguments, &image, &claims, &context)?;
    let commits = context.commits.clone().offline(arguments.offline);
    let context = Context { warm_clients: false, bundle, offline: arguments.offline, commits, ..context };
    bring_record(arguments, &image, &claims, &context)?;
    claims.check_base(&image, &context)?;
    // Before the rebuild: what is no image is told in seconds.
    let mut reading = reading();
    let contents = read(&image, &mut reading, DuplicateBlobs::Verify, &context.progress)?;
    let scratch = context.cache.scratch()?;
    let built = pipeline::rebuild(&claims, arguments.keep.as_deref(), &scratch, &context)?;
    let again = rebuilt(&built, &context)?;
    // The base's layers among them: the rebuilt image names them by digest, and so does this one.
    let rebuilt = read(&again, &mut reading, DuplicateBlobs::Skip, &context.progress)?;
    let pair = ImagePair::of(rebuilt, contents);
    let report = VerifyReport::new(arguments.level, DiffReport::of(&again, &image, &pair)?);
    if !arguments.run.quiet {
        let form = Form::of(arguments.run.json, arguments.markdown);
        let mut stdout = BufWriter::new(std::io::stdout().lock());
        // A reader that went away is no failure: the exit code says it all.
        let _ = report.write(&mut stdout, form, arguments.all).and_then(|()| stdout.flush());
    }
    Ok(if report.equal { exit::DONE } else { exit::DIFFERENT })
}

/// The bundle that is named, if one is.
fn open_bundle(
    arguments: &VerifyArguments,
    image: &Opened,
    claims: &Claims,
    context: &Context,
) -> miette::Result<Option<Arc<Bundle>>> {
    if arguments.bundle.is_empty() {
        return Ok(None);
    }
    let bundle = bundle::stage::open(&arguments.bundle, context)?;
    claims.check_bundle(image, &bundle)?;
    Ok(Some(Arc::new(bundle)))
}

/// Brings the record into the cache, where the rebuild looks for it, as far as it is to be had.
fn bring_record(
    arguments: &VerifyArguments,
    image: &Opened,
    claims: &Claims,
    context: &Context,
) -> miette::Result<()> {
    if context.bundle.is_some() {
        return Ok(());
    }
    let is_there = match (claims.lock.record, &arguments.record) {
        (Some(digest), Some(path)) => recording::import(path, digest, context).map(|()| true)?,
        (Some(digest), None) => referrers::fetch_recording(image, digest, context)?,
        (None, _) => false,
    };
    if arguments.offline && !is_there {
        return Err(miette!(
            help = "give a bundle (`--bundle`), or the record (`--record`) where the cache has its bodies",
            "nothing on this machine says what bench downloaded for {}, and with `--offline` nobody is asked",
            image.source.name()
        ));
    }
    Ok(())
}
