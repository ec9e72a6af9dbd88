//! `carafe build`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use carafe_layers::pack::PackedLayer;
use clap::Args;
use miette::miette;
use serde_json::json;

use super::exit;
use super::inputs::{RunArguments, SandboxArguments, SpecArguments};
use crate::pipeline::{self, Built};
use crate::registry::{PushReport, Reference};
use crate::report::{self, LayerRow};
use crate::stages::lock::LockOptions;

/// Where the image is left when it is neither pushed nor put anywhere.
const DEFAULT_OUTPUT: &str = "image";

/// Arguments of `carafe build`.
#[derive(Args)]
pub struct BuildArguments {
    #[command(flatten)]
    spec: SpecArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
    #[command(flatten)]
    run: RunArguments,
    /// Push the image to every tag
    #[arg(long)]
    push: bool,
    /// Leave the image in this folder as an OCI layout [default without --push: ./image]
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Refuse whatever the lock (or the spec itself) does not pin
    #[arg(long, conflicts_with = "lock")]
    locked: bool,
    /// Run `carafe lock` first
    #[arg(long)]
    lock: bool,
}

pub fn run(arguments: &BuildArguments) -> miette::Result<u8> {
    let since = Instant::now();
    let spec = arguments.spec.load()?;
    let targets = targets(&spec.tags)?;
    if arguments.push && targets.is_empty() {
        return Err(miette!(
            help = "name it: `-t registry.example.com/erp:15`, or `[image] tags = [...]` in carafe.toml",
            "where to push is not said"
        ));
    }
    let options =
        LockOptions { path: arguments.spec.lock_path(), locked: arguments.locked, renew: arguments.lock };
    let output = match (&arguments.output, arguments.push) {
        (Some(output), _) => Some(output.clone()),
        (None, false) => Some(DEFAULT_OUTPUT.into()),
        (None, true) => None,
    };
    let context = arguments.run.context(Some(&spec), &targets, (&arguments.sandbox).into())?;
    let scratch = context.cache.scratch()?;
    let built = pipeline::build(&spec, &options, output.as_deref(), &scratch, &context)?;
    let pushed = match arguments.push {
        true => pipeline::push(&built, &targets, &context)?,
        false => Vec::new(),
    };
    show(arguments, &built, &pushed, since.elapsed());
    Ok(exit::DONE)
}

/// The references that tags name.
pub fn targets(tags: &[String]) -> miette::Result<Vec<Reference>> {
    tags.iter().map(|tag| Ok(tag.parse::<Reference>()?)).collect()
}

fn show(arguments: &BuildArguments, built: &Built, pushed: &[PushReport], elapsed: Duration) {
    let digest = built.image.descriptor.digest;
    let names: Vec<String> = match pushed {
        [] => vec![format!("oci:{}@{digest}", built.layout.display())],
        reports => report::pushed_names(reports),
    };
    if arguments.run.json {
        let layers: Vec<_> = built.layers.iter().map(layer_json).collect();
        report::emit(&json!({
            "event": "result",
            "digest": digest,
            "names": names,
            "layers": layers,
            "pushed": pushed.iter().map(report::push_json).collect::<Vec<_>>(),
        }));
        return;
    }
    if !arguments.run.quiet {
        let table = report::layer_table(&rows(built, pushed), &report::sent(pushed));
        let done = if pushed.is_empty() { "built" } else { "built and pushed" };
        report::to_stderr(format_args!("\n{table}\n{done} in {}", report::clock(elapsed)));
    }
    for name in names {
        report::to_stdout(format_args!("{name}"));
    }
}

fn layer_json(layer: &PackedLayer) -> serde_json::Value {
    json!({
        "name": layer.name.as_str(),
        "digest": layer.descriptor.digest,
        "size": layer.descriptor.size,
        "diff_id": layer.diff_id,
        "uncompressed": layer.uncompressed,
        "entries": layer.entries,
    })
}

fn rows(built: &Built, pushed: &[PushReport]) -> Vec<LayerRow> {
    let base = built.sources.base.manifest.layers.iter().map(|layer| ("base".to_owned(), layer));
    let own = built.layers.iter().map(|layer| (layer.name.to_string(), &layer.descriptor));
    base.chain(own)
        .map(|(name, layer)| LayerRow {
            name,
            size: layer.size,
            digest: layer.digest,
            fate: report::fates(pushed, &layer.digest),
        })
        .collect()
}
