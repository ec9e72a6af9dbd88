//! `carafe bundle`.

use std::path::PathBuf;

use carafe_builder::spec::format_bytes;
use carafe_layers::digest::Digest;
use clap::Args;
use serde::Serialize;

use super::delivery::tags;
use super::exit;
use super::inputs::{RunArguments, SpecArguments};
use super::run::Run;
use crate::build::BuildPolicy;
use crate::bundle::stage::{self, Delivered, Output};
use crate::images::ImageName;
use crate::materials::Materials;
use crate::materials::report::{summary, table};
use crate::output::{CommandResult, Content};
use crate::pipeline;
use crate::transfer::report::PushedData;

/// The directory of a bundle without another destination.
const DEFAULT_OUTPUT: &str = "bundle";

/// Arguments of `carafe bundle`.
#[derive(Args)]
pub struct BundleArguments {
    #[command(flatten)]
    spec: SpecArguments,
    #[command(flatten)]
    pub run: RunArguments,
    /// Store the bundle in this directory as an OCI layout [default: ./bundle]
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["tar", "push"])]
    output: Option<PathBuf>,
    /// Write the bundle as one tar file
    #[arg(long, value_name = "FILE", conflicts_with = "push")]
    tar: Option<PathBuf>,
    /// Push the bundle to a registry (repeatable)
    #[arg(long, value_name = "REFERENCE")]
    push: Vec<String>,
    /// Leave out the blobs of this bundle: a directory, a tar file, or a reference
    #[arg(long, value_name = "BUNDLE", conflicts_with = "push")]
    delta_from: Option<ImageName>,
    /// List the materials in this bundle instead of creating one; --json has all their members
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["output", "tar", "push", "delta_from"])]
    pub list: Option<ImageName>,
}

pub fn run(arguments: &BundleArguments, run: &Run) -> miette::Result<u8> {
    if let Some(bundle) = &arguments.list {
        return list(bundle, arguments, run);
    }
    let spec = arguments.spec.load()?;
    let targets = tags(&arguments.push)?;
    let output = match (&arguments.tar, targets.is_empty()) {
        (Some(path), _) => Output::Tar(path.clone()),
        (None, false) => Output::Registry(targets.clone()),
        (None, true) => Output::Directory(arguments.output.clone().unwrap_or(DEFAULT_OUTPUT.into())),
    };
    let context = arguments.run.context(run, Some(&spec), &targets)?;
    let (path, delta_from) = (arguments.spec.lock_path(), arguments.delta_from.as_ref());
    let policy = BuildPolicy::default();
    let delivered = pipeline::bundle(&spec, &path, &output, delta_from, &policy, &context)?;
    Ok(run.finish(exit::SUCCESS, &BundleResult::new(delivered), None))
}

fn list(bundle: &ImageName, arguments: &BundleArguments, run: &Run) -> miette::Result<u8> {
    let context = arguments.run.context(run, None, &[])?;
    let materials = stage::list(bundle, &context)?;
    Ok(run.finish(exit::SUCCESS, &materials, None))
}

impl CommandResult for Materials {
    fn content(&self) -> Content<'_> {
        Content::Text { output: table(self), summary: summary(self) }
    }
}

/// The result of `carafe bundle`.
#[derive(Serialize)]
struct BundleResult {
    digest: Digest,
    names: Vec<String>,
    pushed: Vec<PushedData>,
    written: Option<WrittenData>,
}

#[derive(Serialize)]
struct WrittenData {
    blobs: usize,
    size: u64,
    omitted_blobs: usize,
}

impl BundleResult {
    fn new(delivered: Delivered) -> Self {
        let written = delivered.written.map(|written| WrittenData {
            blobs: written.blobs,
            size: written.bytes,
            omitted_blobs: written.omitted,
        });
        let Delivered { digest, names, pushed, .. } = delivered;
        Self { digest, names, pushed: PushedData::list(&pushed), written }
    }
}

impl CommandResult for BundleResult {
    fn content(&self) -> Content<'_> {
        let summary = self.written.as_ref().map(|written| {
            let plural = if written.blobs == 1 { "" } else { "s" };
            format!("{} in {} blob{plural}", format_bytes(written.size), written.blobs)
        });
        Content::Text { output: self.names.join("\n"), summary: summary.unwrap_or_default() }
    }
}
