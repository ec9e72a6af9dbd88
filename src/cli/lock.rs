//! `carafe lock`.

use std::path::Path;

use carafe_builder::lock::{Lock, LockedImage};
use carafe_builder::spec::Spec;
use clap::Args;
use serde::Serialize;

use super::exit;
use super::inputs::{RunArguments, SandboxArguments, SpecArguments};
use super::run::Run;
use crate::output::{CommandResult, Content};
use crate::pipeline;

/// Arguments of `carafe lock`.
#[derive(Args)]
pub struct LockArguments {
    #[command(flatten)]
    spec: SpecArguments,
    #[command(flatten)]
    sandbox: SandboxArguments,
    #[command(flatten)]
    pub run: RunArguments,
    /// Write nothing; exit with 3 if the lock is out of date or missing
    #[arg(long)]
    pub check: bool,
}

pub fn run(arguments: &LockArguments, run: &Run) -> miette::Result<u8> {
    let spec = arguments.spec.load()?;
    let path = arguments.spec.lock_path();
    if arguments.check {
        let check = LockCheck::of(&spec, &path)?;
        let exit_code = if check.state == LockState::Current { exit::SUCCESS } else { exit::DIFFERENT };
        return Ok(run.finish(exit_code, &check, None));
    }
    let context = arguments.run.context(run, Some(&spec), &[])?;
    let policy = arguments.sandbox.policy(false, None);
    let (old, new) = pipeline::lock(&spec, &path, &policy, &context)?;
    Ok(run.finish(exit::SUCCESS, &LockResult::new(&path, old.as_ref(), &new), None))
}

/// The result of `carafe lock --check`.
#[derive(Serialize)]
struct LockCheck {
    lock_file: String,
    state: LockState,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum LockState {
    Current,
    Outdated,
    Missing,
}

impl LockCheck {
    fn of(spec: &Spec, path: &Path) -> miette::Result<Self> {
        let state = match Lock::read(path)? {
            Some(lock) if lock.matches(spec) => LockState::Current,
            Some(_) => LockState::Outdated,
            None => LockState::Missing,
        };
        Ok(Self { lock_file: path.display().to_string(), state })
    }
}

impl CommandResult for LockCheck {
    fn content(&self) -> Content<'_> {
        let path = &self.lock_file;
        let summary = match self.state {
            LockState::Current => format!("{path} is up to date"),
            LockState::Outdated => {
                format!("{path} is out of date: the spec has changed; run `carafe lock`")
            }
            LockState::Missing => format!("{path} does not exist; run `carafe lock`"),
        };
        Content::Text { output: String::new(), summary }
    }
}

/// The result of `carafe lock`.
#[derive(Serialize)]
struct LockResult {
    lock_file: String,
    lock: String,
    changes: Vec<Change>,
    #[serde(skip)]
    apps: usize,
}

/// A pin that changed; a lock without it has `None`.
#[derive(PartialEq, Eq, Debug, Serialize)]
struct Change {
    kind: PinKind,
    name: String,
    before: Option<String>,
    after: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum PinKind {
    BuildImage,
    BaseImage,
    App,
}

impl LockResult {
    fn new(path: &Path, old: Option<&Lock>, new: &Lock) -> Self {
        Self {
            lock_file: path.display().to_string(),
            lock: new.to_toml(),
            changes: old.map(|old| changes(old, new)).unwrap_or_default(),
            apps: new.apps.len(),
        }
    }
}

impl CommandResult for LockResult {
    fn content(&self) -> Content<'_> {
        let mut lines: Vec<String> = self.changes.iter().map(Change::line).collect();
        let plural = if self.apps == 1 { "" } else { "s" };
        lines.push(format!("locked {} app{plural} in {}", self.apps, self.lock_file));
        Content::Text { output: String::new(), summary: lines.join("\n") }
    }
}

impl Change {
    fn image(kind: PinKind, old: &LockedImage, new: &LockedImage) -> Option<Self> {
        (old.digest != new.digest).then(|| Self {
            kind,
            name: new.reference.clone(),
            before: Some(old.digest.to_string()),
            after: Some(new.digest.to_string()),
        })
    }

    fn line(&self) -> String {
        let name = match self.kind {
            PinKind::BuildImage => "build image",
            PinKind::BaseImage => "base image",
            PinKind::App => &self.name,
        };
        match (self.before.as_deref().map(short), self.after.as_deref().map(short)) {
            (None, Some(after)) => format!("{name}: added at {after}"),
            (_, None) => format!("{name}: removed"),
            (Some(before), Some(after)) => format!("{name}: {before} -> {after}"),
        }
    }
}

/// The first digits of a commit or digest.
fn short(id: &str) -> &str {
    const SHORT_DIGITS: usize = 12;
    let digits = id.rfind(':').map_or(0, |colon| colon + 1) + SHORT_DIGITS;
    id.get(..digits).unwrap_or(id)
}

/// Every pin that differs, in the order of the new lock; removed apps last.
fn changes(old: &Lock, new: &Lock) -> Vec<Change> {
    let images = [
        Change::image(PinKind::BuildImage, &old.build_image, &new.build_image),
        Change::image(PinKind::BaseImage, &old.base_image, &new.base_image),
    ];
    let commit = |lock: &Lock, name: &str| {
        lock.apps.iter().find(|app| app.name == name).map(|app| app.commit.to_string())
    };
    let removed = old.apps.iter().filter(|app| commit(new, &app.name).is_none());
    let apps = new.apps.iter().chain(removed).map(|app| Change {
        kind: PinKind::App,
        name: app.name.clone(),
        before: commit(old, &app.name),
        after: commit(new, &app.name),
    });
    images.into_iter().flatten().chain(apps.filter(|change| change.before != change.after)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_one_short_line() {
        let change = |before: Option<&str>, after: Option<&str>| Change {
            kind: PinKind::App,
            name: "hrms".to_owned(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let [one, two] = ["1", "2"].map(|digit| digit.repeat(40));
        assert_eq!(change(Some(&one), Some(&two)).line(), "hrms: 111111111111 -> 222222222222");
        assert_eq!(change(None, Some(&two)).line(), "hrms: added at 222222222222");
        assert_eq!(change(Some(&one), None).line(), "hrms: removed");
        assert_eq!(short(&format!("sha256:{}", "a".repeat(64))), "sha256:aaaaaaaaaaaa");
    }
}
