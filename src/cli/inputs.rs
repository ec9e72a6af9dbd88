//! Arguments that several commands share, and the inputs of the pipeline that follow from them.

use std::path::PathBuf;

use carafe_builder::cache::Cache;
use carafe_builder::git::Store;
use carafe_builder::sandbox::Isolation;
use carafe_builder::secret::Secret;
use carafe_builder::spec::{AppsInput, DEFAULT_FILE, Spec, SpecOverrides};
use clap::{Args, ValueEnum};

use super::run::Run;
use super::{registries, stop};
use crate::build::BuildPolicy;
use crate::bundle::Bundle;
use crate::context::Context;
use crate::output::OutputFormat;
use crate::registry::{Reference, Registry, RegistryOptions, RetryOptions};

/// The lock's file name, next to the spec.
const LOCK_FILE: &str = "carafe.lock";

/// Arguments about the spec.
#[derive(Args)]
pub struct SpecArguments {
    /// Spec [default: carafe.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// apps.json in the format of bench and frappe_docker; each app may also have `commit`
    #[arg(long, value_name = "FILE")]
    apps: Option<PathBuf>,
    /// apps.json encoded in base64, as for frappe_docker
    #[arg(long, value_name = "BASE64", env = "APPS_JSON_BASE64", hide_env_values = true)]
    #[arg(conflicts_with = "apps")]
    apps_json_base64: Option<String>,
    /// Repository of Frappe [default: https://github.com/frappe/frappe]
    #[arg(long, value_name = "URL", env = "FRAPPE_PATH", hide_env_values = true)]
    frappe_path: Option<String>,
    /// Branch or tag of Frappe
    #[arg(long, value_name = "NAME", env = "FRAPPE_BRANCH")]
    frappe_branch: Option<String>,
    /// Build image that contains bench: a reference, oci:DIR[:REF] or docker-archive:FILE[:TAG]
    /// [default: docker.io/frappe/build:<Frappe's branch>]
    #[arg(long, value_name = "IMAGE")]
    build_image: Option<String>,
    /// Base image [default: docker.io/frappe/base:<Frappe's branch>]
    #[arg(long, value_name = "IMAGE")]
    base_image: Option<String>,
    /// Destination (repeatable)
    #[arg(short, long = "tag", value_name = "REFERENCE")]
    tags: Vec<String>,
    /// Lock file [default: carafe.lock next to the spec]
    #[arg(long, value_name = "FILE")]
    lock_file: Option<PathBuf>,
}

impl SpecArguments {
    /// Loads the spec.
    pub fn load(&self) -> miette::Result<Spec> {
        // An empty variable is an error there: usually a CI secret is not set.
        let apps = match (&self.apps, &self.apps_json_base64) {
            (Some(path), _) => Some(AppsInput::File(path.clone())),
            (None, Some(text)) => Some(AppsInput::Base64(Secret::new(text))),
            (None, None) => None,
        };
        let overrides = SpecOverrides {
            spec: self.spec.clone(),
            apps,
            frappe_path: self.frappe_path.clone().filter(|url| !url.is_empty()),
            frappe_branch: self.frappe_branch.clone().filter(|name| !name.is_empty()),
            build_image: self.build_image.clone(),
            base_image: self.base_image.clone(),
            tags: self.tags.clone(),
        };
        Ok(Spec::load(&overrides, &|name| std::env::var(name).ok())?)
    }

    /// The tags on the command line.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// The path of the lock file.
    pub fn lock_path(&self) -> PathBuf {
        let beside = || self.spec.clone().unwrap_or_else(|| DEFAULT_FILE.into()).with_file_name(LOCK_FILE);
        self.lock_file.clone().unwrap_or_else(beside)
    }
}

/// Arguments of every command that uses registries.
#[derive(Args)]
pub struct RunArguments {
    /// Use plain HTTP for this registry (repeatable)
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    insecure_registries: Vec<String>,
    /// Print events and the result as JSON lines to stdout
    #[arg(long)]
    json: bool,
    /// Print only warnings, errors and the names of images
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

/// Arguments of a command that compares images.
#[derive(Args)]
pub struct ComparisonArguments {
    /// Print Markdown tables, for a merge request
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Print all differences, not only the first 20 of each kind
    #[arg(long)]
    all: bool,
}

/// Arguments about the sandbox.
#[derive(Args)]
pub struct SandboxArguments {
    /// How the build is isolated from this machine
    #[arg(long, value_enum, value_name = "KIND", default_value_t = IsolationArgument::Namespaces)]
    isolation: IsolationArgument,
}

#[derive(Clone, Copy, ValueEnum)]
enum IsolationArgument {
    /// User, mount, pid, ipc, uts and network namespaces
    Namespaces,
    /// No sandbox: the build can read and change everything that you can
    None,
}

impl SandboxArguments {
    /// The policy of a build with these arguments.
    pub fn policy<'a>(&self, offline: bool, bundle: Option<&'a Bundle>) -> BuildPolicy<'a> {
        let isolation = match self.isolation {
            IsolationArgument::Namespaces => Isolation::Namespaces,
            IsolationArgument::None => Isolation::None,
        };
        BuildPolicy { isolation, offline, reuse_downloads: true, bundle }
    }
}

impl RunArguments {
    /// The output format; `comparison` has the flags of a command that compares images.
    pub fn format(&self, comparison: Option<&ComparisonArguments>) -> OutputFormat {
        let all = comparison.is_some_and(|arguments| arguments.all);
        match (self.json, self.quiet) {
            (true, _) => OutputFormat::json(),
            (_, true) => OutputFormat::Quiet,
            _ if comparison.is_some_and(|arguments| arguments.markdown) => OutputFormat::Markdown { all },
            _ => OutputFormat::Text { all },
        }
    }

    /// What the stages need. `spec` has options for some registries; `CARAFE_USERNAME` and
    /// `CARAFE_PASSWORD` are sent only to the registries of `targets`.
    pub fn context(&self, run: &Run, spec: Option<&Spec>, targets: &[Reference]) -> miette::Result<Context> {
        let cache = Cache::from_environment()?;
        let progress = run.format.progress();
        let tables = spec.map(|spec| &spec.registries);
        let options = registries::options(
            tables,
            &self.insecure_registries,
            targets.iter().map(Reference::repository),
        )?;
        let uploads = cache.bucket("uploads", 1)?;
        Ok(Context {
            commits: Store::new(&cache)?,
            cache,
            registry: Registry::new(RegistryOptions {
                retries: RetryOptions::new(progress.clone()),
                uploads: Some(uploads),
                ..options
            })?,
            progress,
            cancel: stop::token(),
        })
    }
}
