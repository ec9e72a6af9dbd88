//! `carafe inspect`.

use carafe_builder::sandbox::Isolation;
use carafe_layers::oci::ImageConfig;
use carafe_layers::source::{ResolvedImage, resolve};
use clap::Args;
use miette::miette;
use serde_json::json;

use super::exit;
use super::inputs::RunArguments;
use crate::images::ImageName;
use crate::report;
use crate::stages::assemble::LOCK_LABEL;

/// Arguments of `carafe inspect`.
#[derive(Args)]
pub struct InspectArguments {
    /// The image: a reference, a layout's folder, oci:FOLDER[:REF] or docker-archive:FILE[:TAG]
    image: ImageName,
    /// Print the lock that made it, and nothing else
    #[arg(long)]
    lock: bool,
    #[command(flatten)]
    run: RunArguments,
}

pub fn run(arguments: &InspectArguments) -> miette::Result<u8> {
    let context = arguments.run.context(None, &[], Isolation::Namespaces)?;
    let source = arguments.image.open(&context.registry, None)?;
    let image = resolve(&*source, &context.platform)?;
    let lock = lock_of(&image.config);
    match (arguments.lock, arguments.run.json) {
        (true, _) => {
            let lock = lock.ok_or_else(|| {
                miette!(
                    help = "only an image that carafe built has one, in its label `{LOCK_LABEL}`",
                    "`{}` holds no lock",
                    source.name()
                )
            })?;
            report::to_stdout(lock.trim_end());
        }
        (false, true) => report::emit(&json!({
            "name": source.name(),
            "digest": image.descriptor.digest,
            "manifest": image.manifest,
            "config": image.config,
            "lock": lock,
        })),
        (false, false) => report::to_stdout(text(&source.name(), &image, lock).trim_end()),
    }
    Ok(exit::DONE)
}

fn lock_of(config: &ImageConfig) -> Option<&str> {
    config.config.labels.as_ref()?.get(LOCK_LABEL).map(String::as_str)
}

fn text(name: &str, image: &ResolvedImage, lock: Option<&str>) -> String {
    let runtime = &image.config.config;
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default().join(" ");
    let lines = [
        ("image", name.to_owned()),
        ("digest", image.descriptor.digest.to_string()),
        ("platform", format!("{}/{}", image.config.os, image.config.architecture)),
        ("created", image.config.created.clone().unwrap_or_default()),
        ("user", runtime.user.clone().unwrap_or_default()),
        ("workdir", runtime.working_dir.clone().unwrap_or_default()),
        ("entrypoint", words(&runtime.entrypoint)),
        ("cmd", words(&runtime.cmd)),
    ];
    let shown = lines.iter().filter(|(_, value)| !value.is_empty());
    let mut text: String = shown.map(|(key, value)| format!("{key:<10}  {value}\n")).collect();
    text.push('\n');
    text.push_str(&report::layer_table(&report::image_rows(image, &[]), &[]));
    if let Some(lock) = lock {
        text.push('\n');
        text.push_str(lock);
    }
    text
}
