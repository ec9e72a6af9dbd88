//! `carafe doctor`.

use std::path::PathBuf;

use carafe_builder::spec::Spec;
use clap::Args;
use miette::miette;
use serde_json::json;

use super::{exit, registries};
use crate::check::{Check, State};
use crate::doctor;
use crate::output;
use crate::registry::{DoctorTarget, Registry};

/// Arguments of `carafe doctor`.
#[derive(Args)]
pub struct DoctorArguments {
    /// Look at this registry instead of this machine: HOST[:PORT], or better a repository that you
    /// want to push to; nothing stays there
    #[arg(long, value_name = "HOST[/REPOSITORY[:TAG]]")]
    registry: Option<String>,
    /// The spec whose `[registry]` tables count [default: carafe.toml, if it is there]
    #[arg(long, value_name = "FILE", requires = "registry")]
    spec: Option<PathBuf>,
    /// Speak plain HTTP to this registry, as often as needed
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]", requires = "registry")]
    insecure_registries: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &DoctorArguments) -> miette::Result<u8> {
    let checks = match &arguments.registry {
        Some(name) => examine(name, arguments)?,
        None => doctor::examine(),
    };
    let is_well = checks.iter().all(|check| check.state != State::Wrong);
    if arguments.json {
        let checks: Vec<_> = checks.iter().map(check_json).collect();
        output::emit(&json!({"event": "result", "well": is_well, "checks": checks}));
    } else {
        checks.iter().for_each(show);
    }
    Ok(if is_well { exit::DONE } else { exit::FAILED })
}

fn examine(name: &str, arguments: &DoctorArguments) -> miette::Result<Vec<Check>> {
    let patient = DoctorTarget::parse(name).ok_or_else(|| {
        miette!(
            help = "write `registry.example.com`, or `registry.example.com/project/erp:15`",
            "`{name}` names neither a registry nor a repository"
        )
    })?;
    let tables = Spec::registries(arguments.spec.as_deref())?;
    let targets = [patient.repository()];
    let options = registries::options(Some(&tables), &arguments.insecure_registries, targets)?;
    Ok(Registry::new(options)?.run_checks(&patient))
}

fn check_json(check: &Check) -> serde_json::Value {
    json!({"name": check.name, "state": check.state.word(), "message": check.message, "help": check.help})
}

fn show(check: &Check) {
    let sign = match check.state {
        State::Fine => "✓",
        State::Note => "!",
        State::Wrong => "✗",
        State::Skipped => "-",
    };
    output::to_stdout(format_args!("{sign} {:<10} {}", check.name, check.message));
    if let Some(help) = &check.help {
        output::to_stdout(format_args!("  {:<10} {help}", ""));
    }
}
