//! `carafe lock`.

use carafe_builder::lock::Lock;
use clap::Args;
use serde_json::json;

use super::exit;
use super::inputs::{RunArguments, SandboxArguments, SpecArguments};
use crate::output;
use crate::pipeline;

/// Arguments of `carafe lock`.
#[derive(Args)]
pub struct LockArguments {
    #[command(flatten)]
    spec: SpecArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
    #[command(flatten)]
    run: RunArguments,
    /// Write nothing; exit with 3 if the spec has moved away from the lock, or there is none
    #[arg(long)]
    check: bool,
}

pub fn run(arguments: &LockArguments) -> miette::Result<u8> {
    let spec = arguments.spec.load()?;
    let path = arguments.spec.lock_path();
    let old = Lock::read(&path)?;
    if arguments.check {
        return Ok(check(old, &spec, &path));
    }
    let context = arguments.run.context(Some(&spec), &[], (&arguments.sandbox).into())?;
    let lock = pipeline::lock(&spec, &path, &context)?;
    let changes = changes(old.as_ref(), &lock);
    if arguments.run.json {
        output::emit(&json!({"event": "result", "lock": lock.to_toml(), "path": path, "changes": changes}));
    } else if !arguments.run.quiet {
        for change in &changes {
            output::to_stderr(format_args!("{change}"));
        }
        output::to_stderr(format_args!("{} apps locked in {}", lock.apps.len(), path.display()));
    }
    Ok(exit::DONE)
}

fn check(lock: Option<Lock>, spec: &carafe_builder::spec::Spec, path: &std::path::Path) -> u8 {
    let path = path.display();
    match lock {
        Some(lock) if lock.matches(spec) => {
            output::to_stderr(format_args!("{path} fits the spec"));
            exit::DONE
        }
        Some(_) => {
            output::to_stderr(format_args!("the spec has moved away from {path}: run `carafe lock`"));
            exit::DIFFERENT
        }
        None => {
            output::to_stderr(format_args!("there is no {path}: run `carafe lock`"));
            exit::DIFFERENT
        }
    }
}

/// A line for each pin that moved.
fn changes(old: Option<&Lock>, new: &Lock) -> Vec<String> {
    let Some(old) = old else { return Vec::new() };
    let mut lines = Vec::new();
    for (name, old, new) in [
        ("build image", &old.build_image, &new.build_image),
        ("base image", &old.base_image, &new.base_image),
    ] {
        if old.digest != new.digest {
            lines.push(format!(
                "{name}: {} -> {}",
                &old.digest.to_string()[..19],
                &new.digest.to_string()[..19]
            ));
        }
    }
    for app in &new.apps {
        match old.apps.iter().find(|other| other.name == app.name) {
            Some(other) if other.commit != app.commit => {
                lines.push(format!(
                    "{}: {} -> {}",
                    app.name,
                    &other.commit.as_str()[..12],
                    &app.commit.as_str()[..12]
                ));
            }
            Some(_) => {}
            None => lines.push(format!("{}: new, {}", app.name, &app.commit.as_str()[..12])),
        }
    }
    let gone = old.apps.iter().filter(|app| !new.apps.iter().any(|other| other.name == app.name));
    lines.extend(gone.map(|app| format!("{}: gone", app.name)));
    lines
}
