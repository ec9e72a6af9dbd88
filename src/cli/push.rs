//! `carafe push`.

use std::sync::Arc;

use carafe_builder::sandbox::Isolation;
use carafe_layers::source::resolve;
use clap::Args;

use super::delivery::{self, DeliveryOutcome};
use super::exit;
use super::inputs::RunArguments;
use crate::images::ImageName;
use crate::output;
use crate::transfer::Transfer;

/// Arguments of `carafe push`.
#[derive(Args)]
pub struct PushArguments {
    /// The image: a layout's directory, oci:DIRECTORY[:REF], oci-archive:FILE[:REF],
    /// docker-archive:FILE[:TAG], or a reference
    image: ImageName,
    /// Where to, as often as needed: references, or files as above
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    run: RunArguments,
}

pub fn run(arguments: &PushArguments) -> miette::Result<u8> {
    let targets = delivery::targets(&arguments.targets)?;
    let context = arguments.run.context(None, &delivery::references(&targets), Isolation::Namespaces)?;
    let source = arguments.image.open(&context.registry, None)?;
    let image = resolve(&*source, &context.platform)?;
    let parcel = Transfer::of_image(Arc::clone(&source), &image);
    let settled = DeliveryOutcome::of(parcel.run(&targets, &context))?;
    if !arguments.run.json && !arguments.run.quiet {
        let rows = output::image_rows(&image, &settled.pushed);
        let table = output::layer_table(&rows, &output::sent(&settled.pushed));
        output::to_stderr(format_args!("\n{table}"));
    }
    settled.show(image.descriptor.digest, &targets, arguments.run.json);
    settled.end(exit::DONE)
}
