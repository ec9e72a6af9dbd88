//! `carafe verify`.

use std::path::PathBuf;

use carafe_builder::spec::Network;
use clap::Args;

use super::exit;
use super::inputs::{ComparisonArguments, RunArguments, SandboxArguments};
use super::run::Run;
use crate::bundle;
use crate::context::Context;
use crate::images::ImageName;
use crate::pipeline::{self, VerifyOptions};
use crate::verify::Level;

/// Arguments of `carafe verify`.
#[derive(Args)]
pub struct VerifyArguments {
    /// Image: a reference, a layout directory, oci:DIR[:REF], oci-archive:FILE[:REF] or
    /// docker-archive:FILE[:TAG]
    image: ImageName,
    /// What must be equal
    #[arg(long, value_enum, default_value_t = Level::Bytes)]
    level: Level,
    /// Directory of the spec, for apps and images that the lock names by relative paths
    #[arg(long, value_name = "DIR")]
    spec_dir: Option<PathBuf>,
    /// Use the inputs in this bundle (repeatable: the first is the bundle, the others have blobs that it
    /// lacks)
    #[arg(long, value_name = "BUNDLE")]
    bundle: Vec<ImageName>,
    /// Replay this recording, the file next to the lock
    #[arg(long, value_name = "FILE", conflicts_with = "bundle")]
    record: Option<PathBuf>,
    /// No network access except for the image itself; everything must be recorded and cached
    #[arg(long)]
    offline: bool,
    /// Store the rebuilt image in this directory as an OCI layout
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    #[command(flatten)]
    pub comparison: ComparisonArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

pub fn run(arguments: &VerifyArguments, run: &Run) -> miette::Result<u8> {
    let context = arguments.run.context(run, None, &[])?;
    let commits = context.commits.clone().offline(arguments.offline);
    let context = Context { commits, ..context };
    let bundle = match arguments.bundle.as_slice() {
        [] => None,
        names => Some(bundle::stage::open(names, &context)?),
    };
    let options = VerifyOptions {
        image: arguments.image.clone(),
        level: arguments.level,
        spec_directory: arguments.spec_dir.clone(),
        network: Network::of_user(&|name| std::env::var(name).ok())?,
        recording: arguments.record.clone(),
        keep: arguments.keep.clone(),
    };
    let policy = arguments.sandbox.policy(arguments.offline, bundle.as_ref());
    pipeline::verify(&options, &policy, &context, |report| {
        let exit_code = if report.equal { exit::SUCCESS } else { exit::DIFFERENT };
        run.finish(exit_code, report, None)
    })
}
