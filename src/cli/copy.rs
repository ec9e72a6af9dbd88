//! `carafe copy`.

use carafe_layers::oci::Platform;
use clap::Args;

use super::delivery::{self, DeliveryResult};
use super::exit;
use super::inputs::RunArguments;
use super::run::Run;
use crate::images::{ArchiveKind, ImageName};
use crate::pipeline;
use crate::transfer::Selection;

/// Arguments of `carafe copy`.
#[derive(Args)]
pub struct CopyArguments {
    /// Image: a reference, a layout directory, oci:DIR[:REF], oci-archive:FILE[:REF] or
    /// docker-archive:FILE[:TAG]
    source: ImageName,
    /// Destination (repeatable), in the same forms
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Copy only the image for this platform from an index [default: the complete index; for a Docker
    /// archive, the image for this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Copy the referrers of the image too: signatures, SBOMs, provenance
    #[arg(long)]
    referrers: bool,
    #[command(flatten)]
    pub run: RunArguments,
}

pub fn run(arguments: &CopyArguments, run: &Run) -> miette::Result<u8> {
    let targets = delivery::targets(&arguments.targets)?;
    let context = arguments.run.context(run, None, &delivery::references(&targets))?;
    let is_docker_archive =
        |target: &ImageName| matches!(target, ImageName::Archive { kind: ArchiveKind::Docker, .. });
    let host = targets.iter().all(is_docker_archive).then(Platform::host);
    let selection =
        Selection { platform: arguments.platform.clone().or(host), referrers: arguments.referrers };
    let (digest, delivered) = pipeline::copy(&arguments.source, &selection, &targets, &context)?;
    let result = DeliveryResult::new(digest, &targets, &delivered, String::new());
    Ok(run.finish(exit::SUCCESS, &result, delivered.failure.as_ref()))
}
