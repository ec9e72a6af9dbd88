//! `carafe doctor`.

use std::path::PathBuf;

use carafe_builder::spec::Spec;
use clap::Args;
use miette::miette;
use serde::Serialize;

use super::run::Run;
use super::{exit, registries};
use crate::check::{Check, CheckStatus};
use crate::doctor;
use crate::output::{CommandResult, Content, OutputFormat};
use crate::registry::{DoctorTarget, Registry};

/// Arguments of `carafe doctor`.
#[derive(Args)]
pub struct DoctorArguments {
    /// Check this registry instead of this machine: a host, or better a repository that you want to push
    /// to; nothing is stored there
    #[arg(long, value_name = "HOST[:PORT][/REPOSITORY[:TAG]]")]
    registry: Option<String>,
    /// Spec with `[registry]` tables [default: carafe.toml, if it exists]
    #[arg(long, value_name = "FILE", requires = "registry")]
    spec: Option<PathBuf>,
    /// Use plain HTTP for this registry (repeatable)
    #[arg(long = "insecure-registry", value_name = "HOST[:PORT]", requires = "registry")]
    insecure_registries: Vec<String>,
    /// Print the result as a JSON line to stdout
    #[arg(long)]
    json: bool,
}

impl DoctorArguments {
    /// The output format.
    pub fn format(&self) -> OutputFormat {
        if self.json { OutputFormat::json() } else { OutputFormat::Text { all: false } }
    }
}

pub fn run(arguments: &DoctorArguments, run: &Run) -> miette::Result<u8> {
    let checks = match &arguments.registry {
        Some(name) => check_registry(name, arguments)?,
        None => doctor::check_machine(),
    };
    let has_failure = checks.iter().any(|check| check.status == CheckStatus::Fail);
    let exit_code = if has_failure { exit::FAILED } else { exit::SUCCESS };
    Ok(run.finish(exit_code, &DoctorResult { target: arguments.registry.clone(), checks }, None))
}

fn check_registry(name: &str, arguments: &DoctorArguments) -> miette::Result<Vec<Check>> {
    let target = DoctorTarget::parse(name).ok_or_else(|| {
        miette!(
            help = "pass a host or a repository, such as `registry.example.com/project/erp:15`",
            "failed to parse `{name}`: it is neither a registry nor a repository"
        )
    })?;
    let tables = Spec::registries(arguments.spec.as_deref())?;
    let targets = [target.repository()];
    let options = registries::options(Some(&tables), &arguments.insecure_registries, targets)?;
    Ok(Registry::new(options)?.run_checks(&target))
}

/// The result of `carafe doctor`.
#[derive(Serialize)]
struct DoctorResult {
    target: Option<String>,
    checks: Vec<Check>,
}

impl CommandResult for DoctorResult {
    fn content(&self) -> Content<'_> {
        let lines: Vec<String> = self.checks.iter().map(lines).collect();
        Content::Text { output: lines.join("\n"), summary: String::new() }
    }

    fn has_warning(&self) -> bool {
        self.checks.iter().any(|check| check.status == CheckStatus::Warn)
    }
}

fn lines(check: &Check) -> String {
    let symbol = match check.status {
        CheckStatus::Pass => "✓",
        CheckStatus::Warn => "!",
        CheckStatus::Fail => "✗",
        CheckStatus::Skipped => "-",
    };
    let help = check.help.as_ref().map(|help| format!("\n  {:<10} {help}", "")).unwrap_or_default();
    format!("{symbol} {:<10} {}{help}", check.name, check.message)
}
