//! Arguments that several commands share, and what they become.

use std::path::PathBuf;

use carafe_builder::cache::Cache;
use carafe_builder::git::Store;
use carafe_builder::sandbox::Isolation;
use carafe_builder::secret::Secret;
use carafe_builder::spec::{AppsInput, DEFAULT_FILE, Spec, SpecOverrides};
use carafe_layers::oci::Platform;
use clap::{Args, ValueEnum};

use super::{registries, stop};
use crate::context::Context;
use crate::output::{self, OutputFormat};
use crate::registry::{Reference, Registry, RegistryOptions, RetryOptions};

/// The lock's name, beside the spec.
const LOCK_FILE: &str = "carafe.lock";

/// What to build.
#[derive(Args)]
pub struct SpecArguments {
    /// The spec [default: carafe.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// An apps.json as bench and frappe_docker have it, and `commit`
    #[arg(long, value_name = "FILE")]
    apps: Option<PathBuf>,
    /// The same in base64, as frappe_docker takes it
    #[arg(long, value_name = "TEXT", env = "APPS_JSON_BASE64", hide_env_values = true)]
    #[arg(conflicts_with = "apps")]
    apps_json_base64: Option<String>,
    /// Frappe's repository [default: https://github.com/frappe/frappe]
    #[arg(long, value_name = "URL", env = "FRAPPE_PATH", hide_env_values = true)]
    frappe_path: Option<String>,
    /// Frappe's branch or tag
    #[arg(long, value_name = "NAME", env = "FRAPPE_BRANCH")]
    frappe_branch: Option<String>,
    /// Where bench runs: a registry reference, oci:DIRECTORY[:REF] or docker-archive:FILE[:TAG]
    /// [default: docker.io/frappe/build:<frappe's branch>]
    #[arg(long, value_name = "IMAGE")]
    build_image: Option<String>,
    /// What the image stands on [default: docker.io/frappe/base:<frappe's branch>]
    #[arg(long, value_name = "IMAGE")]
    base_image: Option<String>,
    /// Where to push, as often as needed
    #[arg(short, long = "tag", value_name = "REFERENCE")]
    tags: Vec<String>,
    /// The lock [default: carafe.lock beside the spec]
    #[arg(long, value_name = "FILE")]
    lock_file: Option<PathBuf>,
}

impl SpecArguments {
    /// The spec.
    pub fn load(&self) -> miette::Result<Spec> {
        let base64 = self.apps_json_base64.as_ref().filter(|text| !text.is_empty());
        let apps = match (&self.apps, base64) {
            (Some(path), _) => Some(AppsInput::File(path.clone())),
            (None, Some(text)) => Some(AppsInput::Base64(Secret::new(text))),
            (None, None) => None,
        };
        let wishes = SpecOverrides {
            spec: self.spec.clone(),
            apps,
            frappe_path: self.frappe_path.clone().filter(|url| !url.is_empty()),
            frappe_branch: self.frappe_branch.clone().filter(|name| !name.is_empty()),
            build_image: self.build_image.clone(),
            base_image: self.base_image.clone(),
            tags: self.tags.clone(),
        };
        Ok(Spec::load(&wishes, &|name| std::env::var(name).ok())?)
    }

    /// The tags that stand on the command line.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Where the lock is.
    pub fn lock_path(&self) -> PathBuf {
        let beside = || self.spec.clone().unwrap_or_else(|| DEFAULT_FILE.into()).with_file_name(LOCK_FILE);
        self.lock_file.clone().unwrap_or_else(beside)
    }
}

/// How to go about it.
#[derive(Args)]
pub struct RunArguments {
    /// Speak plain HTTP to this registry, as often as needed
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]")]
    insecure_registries: Vec<String>,
    /// Print events and the result as JSON lines on stdout
    #[arg(long)]
    pub json: bool,
    /// Show nothing but warnings and errors
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
}

/// How the build is kept apart from this machine.
#[derive(Args)]
pub struct SandboxArguments {
    /// `none` runs the build on this machine as it is: it sees and may change all that you may
    #[arg(long, value_enum, default_value_t = IsolationArgument::Namespaces)]
    isolation: IsolationArgument,
}

#[derive(Clone, Copy, ValueEnum)]
enum IsolationArgument {
    /// User, mount, pid, ipc, uts and network namespaces
    Namespaces,
    /// Nothing
    None,
}

impl From<&SandboxArguments> for Isolation {
    fn from(arguments: &SandboxArguments) -> Self {
        match arguments.isolation {
            IsolationArgument::Namespaces => Self::Namespaces,
            IsolationArgument::None => Self::None,
        }
    }
}

impl RunArguments {
    /// Everything the stages use; `spec` says how some registries are spoken to, and
    /// `CARAFE_USERNAME` and `CARAFE_PASSWORD` go to the registries of `targets` alone.
    pub fn context(
        &self,
        spec: Option<&Spec>,
        targets: &[Reference],
        isolation: Isolation,
    ) -> miette::Result<Context> {
        let cache = Cache::from_environment()?;
        let progress = output::progress(self.style());
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
            isolation,
            cancel: stop::token(),
            warm_clients: true,
            bundle: None,
            offline: false,
            platform: Platform::host(),
        })
    }

    fn style(&self) -> OutputFormat {
        match (self.json, self.quiet) {
            (true, _) => OutputFormat::Json,
            (_, true) => OutputFormat::Quiet,
            _ => OutputFormat::Auto,
        }
    }
}
