//! `carafe diff`.

use clap::Args;

use super::exit;
use super::inputs::{ComparisonArguments, RunArguments};
use super::run::Run;
use crate::images::ImageName;
use crate::pipeline;

/// Arguments of `carafe diff`.
#[derive(Args)]
pub struct DiffArguments {
    /// First image: a reference, a layout directory, oci:DIR[:REF], oci-archive:FILE[:REF] or
    /// docker-archive:FILE[:TAG]
    #[arg(value_name = "A")]
    want: ImageName,
    /// Second image, in the same forms
    #[arg(value_name = "B")]
    got: ImageName,
    #[command(flatten)]
    pub comparison: ComparisonArguments,
    /// Count the commits between two versions of an app; fetches their history from its repository
    #[arg(long)]
    distance: bool,
    #[command(flatten)]
    pub run: RunArguments,
}

pub fn run(arguments: &DiffArguments, run: &Run) -> miette::Result<u8> {
    let context = arguments.run.context(run, None, &[])?;
    pipeline::diff(&arguments.want, &arguments.got, arguments.distance, &context, |report| {
        let exit_code = if report.equal() { exit::SUCCESS } else { exit::DIFFERENT };
        run.finish(exit_code, report, None)
    })
}
