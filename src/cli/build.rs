//! `carafe build`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use carafe_builder::egress::{Update, UpdateSelector};
use carafe_builder::spec::Spec;
use carafe_layers::pack::PackedLayer;
use clap::Args;
use miette::miette;
use serde_json::json;

use super::delivery::DeliveryOutcome;
use super::exit;
use super::inputs::{RunArguments, SandboxArguments, SpecArguments};
use crate::build::egress::Traffic;
use crate::build::lock::LockOptions;
use crate::bundle;
use crate::context::Context;
use crate::images::ImageName;
use crate::output::{self, LayerRow};
use crate::pipeline::{self, Built, Destinations};
use crate::registry::{PushReport, Reference};

/// Where the image is left when it is neither pushed nor put anywhere.
const DEFAULT_OUTPUT: &str = "image";

/// What `--update` without a value stands for.
const EVERYTHING: &str = "";

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
    /// Push the record of what bench downloaded too, as what refers to the image, for `carafe verify`:
    /// whoever reads the image reads the addresses in it
    #[arg(long, requires = "push")]
    attach_record: bool,
    /// Leave the image in this directory as an OCI layout [default without --push: ./image], or in
    /// oci:DIRECTORY[:REF], oci-archive:FILE[:REF] or docker-archive:FILE[:TAG]
    #[arg(short, long, value_name = "DIRECTORY", value_parser = ImageName::output)]
    output: Option<ImageName>,
    /// Refuse whatever the lock (or the spec itself) does not pin
    #[arg(long, conflicts_with = "lock")]
    locked: bool,
    /// Run `carafe lock` first
    #[arg(long)]
    lock: bool,
    /// Record again what bench downloads: all of it, or what belongs to a host or a package
    #[arg(long, value_name = "HOST|PACKAGE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = EVERYTHING, conflicts_with_all = ["locked", "offline"])]
    update: Vec<String>,
    /// Ask nothing outside of this machine: all must be recorded, and in the cache
    #[arg(long, conflicts_with = "lock")]
    offline: bool,
    /// Build from this bundle (a directory, a tar, a reference): its lock takes the place of the
    /// spec. A delta needs the bundle that it is against too, as a second --bundle
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["lock", "locked", "update"])]
    #[arg(conflicts_with_all = ["spec", "lock_file", "apps", "build_image", "base_image"])]
    bundle: Vec<ImageName>,
}

pub fn run(arguments: &BuildArguments) -> miette::Result<u8> {
    let since = Instant::now();
    let (spec, targets, context) = prepare(arguments)?;
    if arguments.push && targets.is_empty() {
        return Err(miette!(
            help = "name it: `-t registry.example.com/erp:15`, or `[image] tags = [...]` in carafe.toml",
            "where to push is not said"
        ));
    }
    let options = LockOptions {
        path: arguments.spec.lock_path(),
        locked: arguments.locked,
        relock: arguments.lock,
        update: update(&arguments.update),
    };
    let output = match (&arguments.output, arguments.push) {
        (Some(output), _) => Some(output.clone()),
        (None, false) => Some(ImageName::output(DEFAULT_OUTPUT)?),
        (None, true) => None,
    };
    let commits = context.commits.clone().offline(arguments.offline);
    let context = Context { offline: arguments.offline, commits, ..context };
    let scratch = context.cache.scratch()?;
    let directory = output.as_ref().and_then(ImageName::directory);
    let pushed_to = if arguments.push { &targets[..] } else { &[] };
    let push = context.registry.start_push(pushed_to, &context.progress)?;
    push.check()?;
    let outlet = Destinations { layout: directory, push: Some(&push) };
    let built = match &context.bundle {
        Some(bundle) => pipeline::build_bundle(&spec, bundle, outlet, &scratch, &context)?,
        None => pipeline::build(&spec, &options, outlet, &scratch, &context)?,
    };
    let local = Vec::from_iter(output);
    let attach = arguments.attach_record;
    let settled = DeliveryOutcome::of(pipeline::deliver(&built, &targets, &local, push, attach, &context))?;
    let names = match arguments.push {
        true => output::pushed_names(&settled.pushed),
        false => settled.names(built.image.descriptor.digest, &local),
    };
    show(arguments, &built, &settled.pushed, names, since.elapsed());
    settled.end(exit::DONE)
}

/// What is built, where it is pushed to, and what the stages use.
fn prepare(arguments: &BuildArguments) -> miette::Result<(Spec, Vec<Reference>, Context)> {
    let isolation = (&arguments.sandbox).into();
    if arguments.bundle.is_empty() {
        let spec = arguments.spec.load()?;
        let targets = targets(&spec.tags)?;
        let context = arguments.run.context(Some(&spec), &targets, isolation)?;
        return Ok((spec, targets, context));
    }
    let tags = arguments.spec.tags().to_vec();
    let targets = targets(&tags)?;
    let context = arguments.run.context(None, &targets, isolation)?;
    let bundle = bundle::stage::open(&arguments.bundle, &context)?;
    let spec = Spec { tags, ..bundle.lock().to_spec()? };
    Ok((spec, targets, Context { bundle: Some(Arc::new(bundle)), ..context }))
}

/// What `--update` asks for.
fn update(wanted: &[String]) -> Option<Update> {
    match wanted {
        [] => None,
        wanted if wanted.iter().any(|wanted| wanted == EVERYTHING) => Some(Update::All),
        wanted => Some(Update::Only(wanted.iter().map(|wanted| UpdateSelector::new(wanted)).collect())),
    }
}

/// The references that tags name.
pub fn targets(tags: &[String]) -> miette::Result<Vec<Reference>> {
    tags.iter().map(|tag| Ok(tag.parse::<Reference>()?)).collect()
}

fn show(
    arguments: &BuildArguments,
    built: &Built,
    pushed: &[PushReport],
    names: Vec<String>,
    elapsed: Duration,
) {
    let digest = built.image.descriptor.digest;
    if arguments.run.json {
        let layers: Vec<_> = built.layers.iter().map(layer_json).collect();
        output::emit(&json!({
            "event": "result",
            "digest": digest,
            "names": names,
            "layers": layers,
            "record": built.traffic.as_ref().map(traffic_json),
            "pushed": pushed.iter().map(output::push_json).collect::<Vec<_>>(),
        }));
        return;
    }
    if !arguments.run.quiet {
        // The same address may have been asked in several forms.
        let mut changes: Vec<String> =
            built.traffic.iter().flat_map(|traffic| &traffic.changes).map(ToString::to_string).collect();
        changes.dedup();
        changes.iter().for_each(output::to_stderr);
        let table = output::layer_table(&rows(built, pushed), &output::sent(pushed));
        let done = if pushed.is_empty() { "built" } else { "built and pushed" };
        output::to_stderr(format_args!("\n{table}\n{done} in {}", output::clock(elapsed)));
    }
    for name in names {
        output::to_stdout(format_args!("{name}"));
    }
}

fn traffic_json(traffic: &Traffic) -> serde_json::Value {
    json!({
        "digest": traffic.recording.digest(),
        "recorded": traffic.is_new,
        "answers": traffic.recording.entries().len(),
        "changes": traffic.changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "refused": traffic.blocked.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "tries_again": traffic.retries,
        "bytes_fetched": traffic.bytes_fetched,
        "bytes_served": traffic.bytes_served,
    })
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
            fate: output::fates(pushed, &layer.digest),
        })
        .collect()
}
