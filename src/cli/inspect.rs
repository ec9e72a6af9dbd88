//! `carafe inspect`.

use carafe_layers::digest::Digest;
use carafe_layers::oci::{ImageConfig, Manifest, Platform};
use carafe_layers::source::{ResolvedImage, resolve};
use carafe_layers::text::escape_bytes;
use clap::Args;
use miette::miette;
use serde::Serialize;

use super::exit;
use super::inputs::RunArguments;
use super::run::Run;
use crate::build::assemble::LOCK_LABEL;
use crate::images::ImageName;
use crate::output::{CommandResult, Content, layer_table};
use crate::transfer::report::image_rows;

/// Arguments of `carafe inspect`.
#[derive(Args)]
pub struct InspectArguments {
    /// Image: a reference, a layout directory, oci:DIR[:REF], oci-archive:FILE[:REF] or
    /// docker-archive:FILE[:TAG]
    image: ImageName,
    /// Print only the lock that produced the image
    #[arg(long, conflicts_with = "json")]
    lock: bool,
    #[command(flatten)]
    pub run: RunArguments,
}

pub fn run(arguments: &InspectArguments, run: &Run) -> miette::Result<u8> {
    let context = arguments.run.context(run, None, &[])?;
    let source = arguments.image.open(&context.registry, None)?;
    let image = resolve(&*source, &Platform::host())?;
    let lock = lock_of(&image.config);
    if arguments.lock && lock.is_none() {
        return Err(miette!(
            help = "only an image that Carafe built has one, in its label `{LOCK_LABEL}`",
            "failed to print the lock of {}: the image has none",
            source.name()
        ));
    }
    let result = InspectResult {
        name: source.name(),
        digest: image.descriptor.digest,
        manifest: &image.manifest,
        config: &image.config,
        lock,
        output: match lock.filter(|_| arguments.lock) {
            Some(lock) => lock.to_owned(),
            None => text(&source.name(), &image, lock),
        },
    };
    Ok(run.finish(exit::SUCCESS, &result, None))
}

/// The result of `carafe inspect`.
#[derive(Serialize)]
struct InspectResult<'a> {
    name: String,
    digest: Digest,
    manifest: &'a Manifest,
    config: &'a ImageConfig,
    lock: Option<&'a str>,
    #[serde(skip)]
    output: String,
}

impl CommandResult for InspectResult<'_> {
    fn content(&self) -> Content<'_> {
        Content::Text { output: self.output.clone(), summary: String::new() }
    }
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
    // All values come from the image, which may be untrusted.
    let shown = lines.iter().filter(|(_, value)| !value.is_empty());
    let shown = shown.map(|(key, value)| format!("{key:<10}  {}\n", escape_bytes(value.as_bytes())));
    let mut text: String = shown.collect();
    text.push('\n');
    text.push_str(&layer_table(&image_rows(image, &[]), &[]));
    if let Some(lock) = lock {
        text.push('\n');
        text.extend(lock.lines().map(|line| escape_bytes(line.as_bytes()) + "\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_layers::oci::{Descriptor, media_type};
    use serde_json::json;

    #[test]
    fn no_control_character_of_an_image_reaches_the_terminal() {
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
