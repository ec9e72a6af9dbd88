//! `carafe push`.

use clap::Args;

use super::delivery::{self, DeliveryResult};
use super::exit;
use super::inputs::RunArguments;
use super::run::Run;
use crate::images::ImageName;
use crate::output::layer_table;
use crate::pipeline;
use crate::transfer::report::{image_rows, sent_bytes};

/// Arguments of `carafe push`.
#[derive(Args)]
pub struct PushArguments {
    /// Image: a layout directory, oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:TAG], or
    /// a reference
    image: ImageName,
    /// Destination (repeatable): a reference, or a layout or archive as above
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    #[command(flatten)]
    pub run: RunArguments,
}

pub fn run(arguments: &PushArguments, run: &Run) -> miette::Result<u8> {
    let targets = delivery::targets(&arguments.targets)?;
    let context = arguments.run.context(run, None, &delivery::references(&targets))?;
    let (image, delivered) = pipeline::push(&arguments.image, &targets, &context)?;
    let pushed = &delivered.pushed;
    let summary = format!("\n{}", layer_table(&image_rows(&image, pushed), &sent_bytes(pushed)));
    let result = DeliveryResult::new(image.descriptor.digest, &targets, &delivered, summary);
    Ok(run.finish(exit::SUCCESS, &result, delivered.failure.as_ref()))
}
