//! `carafe index`.

use carafe_builder::sandbox::Isolation;
use clap::{Args, Subcommand};

use super::delivery::{self, DeliveryOutcome};
use super::exit;
use super::inputs::RunArguments;
use crate::images::ImageName;
use crate::transfer::index;

/// Arguments of `carafe index`.
#[derive(Args)]
pub struct IndexArguments {
    #[command(subcommand)]
    command: IndexCommand,
}

#[derive(Subcommand)]
enum IndexCommand {
    /// Make an index over images for several platforms
    Create(CreateArguments),
}

#[derive(Args)]
struct CreateArguments {
    /// Where to: a reference, oci:DIRECTORY[:REF] or oci-archive:FILE[:REF]
    target: String,
    /// The images, one for each platform: references, or files as above
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<ImageName>,
    #[command(flatten)]
    run: RunArguments,
}

pub fn run(arguments: &IndexArguments) -> miette::Result<u8> {
    let IndexCommand::Create(arguments) = &arguments.command;
    let targets = delivery::targets(std::slice::from_ref(&arguments.target))?;
    let context = arguments.run.context(None, &delivery::references(&targets), Isolation::Namespaces)?;
    let parcel = index::create(&arguments.images, &context)?;
    let settled = DeliveryOutcome::of(parcel.run(&targets, &context))?;
    settled.show(parcel.graph.root.descriptor.digest, &targets, arguments.run.json);
    settled.end(exit::DONE)
}
