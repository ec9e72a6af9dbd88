//! `carafe index`.

use clap::{Args, Subcommand};

use super::delivery::{self, DeliveryResult};
use super::exit;
use super::inputs::RunArguments;
use super::run::Run;
use crate::images::ImageName;
use crate::pipeline;

/// Arguments of `carafe index`.
#[derive(Args)]
pub struct IndexArguments {
    #[command(subcommand)]
    command: IndexCommand,
}

#[derive(Subcommand)]
enum IndexCommand {
    /// Create an index of images for several platforms
    Create(CreateArguments),
}

#[derive(Args)]
struct CreateArguments {
    /// Destination: a reference, oci:DIR[:REF] or oci-archive:FILE[:REF]
    target: String,
    /// Images, one for each platform: references, or layouts or archives as above
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<ImageName>,
    #[command(flatten)]
    run: RunArguments,
}

impl IndexArguments {
    /// The arguments of the subcommand that all commands share.
    pub fn run(&self) -> &RunArguments {
        let IndexCommand::Create(arguments) = &self.command;
        &arguments.run
    }
}

pub fn run(arguments: &IndexArguments, run: &Run) -> miette::Result<u8> {
    let IndexCommand::Create(arguments) = &arguments.command;
    let targets = delivery::targets(std::slice::from_ref(&arguments.target))?;
    let context = arguments.run.context(run, None, &delivery::references(&targets))?;
    let (digest, delivered) = pipeline::create_index(&arguments.images, &targets, &context)?;
    let result = DeliveryResult::new(digest, &targets, &delivered, String::new());
    Ok(run.finish(exit::SUCCESS, &result, delivered.failure.as_ref()))
}
