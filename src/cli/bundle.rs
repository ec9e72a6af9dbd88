//! `carafe bundle`.

use std::path::PathBuf;

use carafe_builder::lock::Lock;
use carafe_builder::sandbox::Isolation;
use carafe_builder::spec::format_bytes;
use clap::Args;
use miette::miette;
use serde_json::json;

use super::build::targets;
use super::exit;
use super::inputs::{RunArguments, SpecArguments};
use crate::build::lock::check;
use crate::bundle;
use crate::bundle::stage::{Delivered, Output, deliver, gather, open, recording};
use crate::images::ImageName;
use crate::materials;
use crate::output;

/// Where a bundle is left when nothing else is said.
const DEFAULT_OUTPUT: &str = "bundle";

/// Arguments of `carafe bundle`.
#[derive(Args)]
pub struct BundleArguments {
    #[command(flatten)]
    spec: SpecArguments,
    #[command(flatten)]
    run: RunArguments,
    /// Leave the bundle in this directory as an OCI layout [default: ./bundle]
    #[arg(short, long, value_name = "DIRECTORY", conflicts_with_all = ["tar", "push"])]
    output: Option<PathBuf>,
    /// Write the bundle as one tar file
    #[arg(long, value_name = "FILE", conflicts_with = "push")]
    tar: Option<PathBuf>,
    /// Push the bundle to a registry, as often as needed
    #[arg(long, value_name = "REFERENCE")]
    push: Vec<String>,
    /// Leave out what this bundle has: a directory, a tar, or a reference
    #[arg(long, value_name = "BUNDLE", conflicts_with = "push")]
    delta_from: Option<ImageName>,
    /// Print what is in this bundle, and make none; with --json all that is known of it
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["output", "tar", "push", "delta_from"])]
    list: Option<ImageName>,
}

pub fn run(arguments: &BundleArguments) -> miette::Result<u8> {
    if let Some(bundle) = &arguments.list {
        return list(bundle, &arguments.run);
    }
    let spec = arguments.spec.load()?;
    let path = arguments.spec.lock_path();
    let targets = targets(&arguments.push)?;
    let output = match (&arguments.tar, targets.is_empty()) {
        (Some(path), _) => Output::Tar(path.clone()),
        (None, false) => Output::Registry(targets.clone()),
        (None, true) => Output::Directory(arguments.output.clone().unwrap_or(DEFAULT_OUTPUT.into())),
    };
    let lock = Lock::read(&path)?.ok_or_else(|| {
        miette!(help = "run `carafe lock`, then `carafe build`", "there is no lock `{}`", path.display())
    })?;
    check(&lock, &spec, &path)?;
    let context = arguments.run.context(Some(&spec), &targets, Isolation::Namespaces)?;
    let recording = recording(&lock, &path, &context)?;
    let scratch = context.cache.scratch()?;
    let draft = gather(&spec, &lock, &recording, &scratch, &context)?;
    let done = deliver(&draft, &output, arguments.delta_from.as_ref(), &context)?;
    show(arguments, &done);
    Ok(exit::DONE)
}

fn list(bundle: &ImageName, run: &RunArguments) -> miette::Result<u8> {
    let context = run.context(None, &[], Isolation::Namespaces)?;
    let scratch = context.cache.scratch()?;
    let bundle = open(std::slice::from_ref(bundle), &context)?;
    let materials = bundle::stage::list(&bundle, &scratch, &context)?;
    if run.json {
        output::emit(&materials);
        return Ok(exit::DONE);
    }
    output::to_stdout(materials::report::table(&materials).trim_end());
    if !run.quiet {
        output::to_stderr(materials::report::rest(&materials));
    }
    Ok(exit::DONE)
}

fn show(arguments: &BundleArguments, done: &Delivered) {
    if arguments.run.json {
        let written =
            done.written.map(|it| json!({"blobs": it.blobs, "size": it.bytes, "left_out": it.omitted}));
        return output::emit(&json!({
            "event": "result",
            "digest": done.digest,
            "names": done.names,
            "written": written,
            "pushed": done.pushed.iter().map(output::push_json).collect::<Vec<_>>(),
        }));
    }
    if let Some(written) = done.written.filter(|_| !arguments.run.quiet) {
        output::to_stderr(format_args!("{} in {} blobs", format_bytes(written.bytes), written.blobs));
    }
    for name in &done.names {
        output::to_stdout(name);
    }
}
