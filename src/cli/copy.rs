//! `carafe copy`.

use carafe_builder::sandbox::Isolation;
use carafe_layers::oci::Platform;
use clap::Args;

use super::delivery::{self, DeliveryOutcome};
use super::exit;
use super::inputs::RunArguments;
use crate::images::{ArchiveKind, ImageName};
use crate::transfer::{Selection, Transfer};

/// Arguments of `carafe copy`.
#[derive(Args)]
pub struct CopyArguments {
    /// What: a reference, a layout's directory, oci:DIRECTORY[:REF], oci-archive:FILE[:REF] or
    /// docker-archive:FILE[:TAG]
    source: ImageName,
    /// Where to, in the same forms, as often as needed
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// Of an index, copy the image for this platform alone [default: all of it; for a docker
    /// archive, this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Copy also what refers to the image: signatures, SBOMs, provenance
    #[arg(long)]
    referrers: bool,
    #[command(flatten)]
    run: RunArguments,
}

pub fn run(arguments: &CopyArguments) -> miette::Result<u8> {
    let targets = delivery::targets(&arguments.targets)?;
    let context = arguments.run.context(None, &delivery::references(&targets), Isolation::Namespaces)?;
    let for_docker =
        |target: &ImageName| matches!(target, ImageName::Archive { kind: ArchiveKind::Docker, .. });
    let own = targets.iter().all(for_docker).then(|| context.platform.clone());
    let selection =
        Selection { platform: arguments.platform.clone().or(own), referrers: arguments.referrers };
    let parcel = Transfer::open(&arguments.source, &selection, &context)?;
    let settled = DeliveryOutcome::of(parcel.run(&targets, &context))?;
    settled.show(parcel.graph.root.descriptor.digest, &targets, arguments.run.json);
    settled.end(exit::DONE)
}
