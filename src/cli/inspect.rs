//! `carafe inspect`.

use carafe_builder::sandbox::Isolation;
use carafe_layers::oci::ImageConfig;
use carafe_layers::source::{ResolvedImage, resolve};
use carafe_layers::text::escape_bytes;
use clap::Args;
use miette::miette;
use serde_json::json;

use super::exit;
use super::inputs::RunArguments;
use crate::build::assemble::LOCK_LABEL;
use crate::images::ImageName;
use crate::output;

/// Arguments of `carafe inspect`.
#[derive(Args)]
pub struct InspectArguments {
    /// The image: a reference, a layout's directory, oci:DIRECTORY[:REF] or docker-archive:FILE[:TAG]
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
            output::foreign_to_stdout(lock.trim_end());
        }
        (false, true) => output::emit(&json!({
            "name": source.name(),
            "digest": image.descriptor.digest,
            "manifest": image.manifest,
            "config": image.config,
            "lock": lock,
        })),
        (false, false) => output::to_stdout(text(&source.name(), &image, lock).trim_end()),
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
    // Whoever made the image wrote all of it.
    let shown = lines.iter().filter(|(_, value)| !value.is_empty());
    let shown = shown.map(|(key, value)| format!("{key:<10}  {}\n", escape_bytes(value.as_bytes())));
    let mut text: String = shown.collect();
    text.push('\n');
    text.push_str(&output::layer_table(&output::image_rows(image, &[]), &[]));
    if let Some(lock) = lock {
        text.push('\n');
        text.extend(lock.lines().map(|line| escape_bytes(line.as_bytes()) + "\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_layers::digest::Digest;
    use carafe_layers::oci::{Descriptor, media_type};

    #[test]
    fn what_an_image_says_does_nothing_to_a_terminal() {
        let odd = "\u{1b}[2J\u{9b}31m";
        let layer = Descriptor::of(media_type::LAYER_GZIP, b"");
        let config = json!({
            "created": odd, "architecture": odd, "os": odd,
            "config": {"User": odd, "WorkingDir": odd, "Entrypoint": [odd], "Cmd": [odd]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"")]},
            "history": [{"created_by": format!("carafe: {odd}")}],
        });
        let manifest = json!({"schemaVersion": 2, "config": layer, "layers": [layer]});
        let image = ResolvedImage {
            root: layer.clone(),
            descriptor: layer,
            manifest: serde_json::from_value(manifest).unwrap(),
            manifest_bytes: Vec::new(),
            config: serde_json::from_value(config).unwrap(),
            config_bytes: Vec::new(),
        };
        let text = text("image", &image, Some(odd));
        assert!(text.matches("[2J").count() >= 8, "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
}
