//! `carafe diff`.

use std::io::{BufWriter, Write};

use carafe_builder::progress::Progress;
use carafe_builder::sandbox::Isolation;
use clap::Args;

use super::exit;
use super::inputs::RunArguments;
use crate::diff::distance::measure;
use crate::diff::report::DiffReport;
use crate::diff::{Opened, read_both};
use crate::images::ImageName;
use crate::output::Form;

/// Arguments of `carafe diff`.
#[derive(Args)]
pub struct DiffArguments {
    /// The first image: a reference, a layout's directory, oci:DIRECTORY[:REF] or docker-archive:FILE[:TAG]
    want: ImageName,
    /// The second image
    got: ImageName,
    /// Print tables in Markdown, for a merge request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print every difference, not the first 20 of each kind
    #[arg(long)]
    all: bool,
    /// Ask each app's repository how many commits lie between the two
    #[arg(long)]
    distance: bool,
    #[command(flatten)]
    run: RunArguments,
}

pub fn run(arguments: &DiffArguments) -> miette::Result<u8> {
    let context = arguments.run.context(None, &[], Isolation::Namespaces)?;
    let want = Opened::open(&arguments.want, &context)?;
    let got = Opened::open(&arguments.got, &context)?;
    // The result is one JSON document: no events before it.
    let progress = if arguments.run.json { Progress::silent() } else { context.progress.clone() };
    let pair = read_both(&want, &got, &progress)?;
    let mut report = DiffReport::of(&want, &got, &pair)?;
    if arguments.distance {
        measure(&want, &got, &mut report.frappe.apps, &context.cache, &progress);
    }
    let form = Form::of(arguments.run.json, arguments.markdown);
    if !arguments.run.quiet {
        let mut stdout = BufWriter::new(std::io::stdout().lock());
        // A reader that went away is no failure: the exit code says it all.
        let _ = report.write(&mut stdout, form, arguments.all).and_then(|()| stdout.flush());
    }
    Ok(if report.equal() { exit::DONE } else { exit::DIFFERENT })
}
