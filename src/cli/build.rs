//! `carafe build`.

use std::time::Instant;

use carafe_builder::egress::{Update, UpdateSelector};
use carafe_builder::spec::Spec;
use clap::Args;
use miette::miette;

use super::build_result::BuildResult;
use super::delivery::tags;
use super::exit;
use super::inputs::{RunArguments, SandboxArguments, SpecArguments};
use super::run::Run;
use crate::build::LockOptions;
use crate::bundle::Bundle;
use crate::bundle::stage::open;
use crate::context::Context;
use crate::images::ImageName;
use crate::pipeline::{self, Destinations};

/// The directory of the image if it is neither pushed nor stored elsewhere.
const DEFAULT_OUTPUT: &str = "image";

/// The value of `--update` without a value.
const EVERYTHING: &str = "";

/// Arguments of `carafe build`.
#[derive(Args)]
pub struct BuildArguments {
    #[command(flatten)]
    spec: SpecArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
    #[command(flatten)]
    pub run: RunArguments,
    /// Push the image to every tag
    #[arg(long)]
    push: bool,
    /// Also push the recording of bench's downloads as a referrer of the image, for `carafe verify`; who
    /// can read the image can read all URLs in it
    #[arg(long, requires = "push")]
    attach_record: bool,
    /// Store the image in this directory as an OCI layout [default without --push: ./image], or in
    /// oci:DIR[:REF], oci-archive:FILE[:REF] or docker-archive:FILE[:TAG]
    #[arg(short, long, value_name = "DIR", value_parser = ImageName::output)]
    output: Option<ImageName>,
    /// Fail if the lock (or the spec itself) does not pin everything
    #[arg(long, conflicts_with = "lock")]
    locked: bool,
    /// Run `carafe lock` first
    #[arg(long)]
    lock: bool,
    /// Record bench's downloads again: all, or only those of a host or a package (repeatable)
    #[arg(long, value_name = "HOST|PACKAGE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = EVERYTHING, conflicts_with_all = ["locked", "offline"])]
    update: Vec<String>,
    /// No network access; everything must be recorded and cached
    #[arg(long, conflicts_with = "lock")]
    offline: bool,
    /// Build from this bundle (a directory, a tar file, a reference) instead of a spec; a delta bundle
    /// also needs the bundle that it is based on, as a second --bundle
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["lock", "locked", "update"])]
    #[arg(conflicts_with_all = ["spec", "lock_file", "apps", "build_image", "base_image"])]
    bundle: Vec<ImageName>,
}

pub fn run(arguments: &BuildArguments, run: &Run) -> miette::Result<u8> {
    let start = Instant::now();
    let Inputs { spec, bundle, destinations, context } = Inputs::of(arguments, run)?;
    let options = LockOptions {
        path: arguments.spec.lock_path(),
        locked: arguments.locked,
        relock: arguments.lock,
        update: update(&arguments.update),
    };
    let policy = arguments.sandbox.policy(arguments.offline, bundle.as_ref());
    let (built, delivered) = pipeline::build(&spec, &options, &destinations, &policy, &context)?;
    let result = BuildResult::new(&built, &delivered, &destinations, start.elapsed());
    Ok(run.finish(exit::SUCCESS, &result, delivered.failure.as_ref()))
}

struct Inputs {
    spec: Spec,
    bundle: Option<Bundle>,
    destinations: Destinations,
    context: Context,
}

impl Inputs {
    fn of(arguments: &BuildArguments, run: &Run) -> miette::Result<Self> {
        if arguments.bundle.is_empty() {
            let spec = arguments.spec.load()?;
            let destinations = destinations(arguments, &spec.tags)?;
            let context = context(arguments, run, Some(&spec), &destinations)?;
            return Ok(Self { spec, bundle: None, destinations, context });
        }
        let tags = arguments.spec.tags().to_vec();
        let destinations = destinations(arguments, &tags)?;
        let context = context(arguments, run, None, &destinations)?;
        let bundle = open(&arguments.bundle, &context)?;
        let spec = Spec { tags, ..bundle.lock().to_spec()? };
        Ok(Self { spec, bundle: Some(bundle), destinations, context })
    }
}

fn destinations(arguments: &BuildArguments, names: &[String]) -> miette::Result<Destinations> {
    let tags = tags(names)?;
    if arguments.push && tags.is_empty() {
        return Err(miette!(
            help = "pass `--tag`, such as `--tag registry.example.com/erp:15`, or set `[image] tags` in carafe.toml",
            "failed to push: no destination was given"
        ));
    }
    let output = match (&arguments.output, arguments.push) {
        (Some(output), _) => Some(output.clone()),
        (None, false) => Some(ImageName::output(DEFAULT_OUTPUT)?),
        (None, true) => None,
    };
    let attach_recording = arguments.attach_record;
    Ok(Destinations { tags, push: arguments.push, attach_recording, output })
}

fn context(
    arguments: &BuildArguments,
    run: &Run,
    spec: Option<&Spec>,
    destinations: &Destinations,
) -> miette::Result<Context> {
    let context = arguments.run.context(run, spec, &destinations.tags)?;
    let commits = context.commits.clone().offline(arguments.offline);
    Ok(Context { commits, ..context })
}

/// What `--update` selects.
fn update(values: &[String]) -> Option<Update> {
    match values {
        [] => None,
        values if values.iter().any(|value| value == EVERYTHING) => Some(Update::All),
        values => Some(Update::Only(values.iter().map(|value| UpdateSelector::new(value)).collect())),
    }
}
