//! Resolves each app of a spec to a commit, and fetches it.

use std::path::Path;

use miette::Diagnostic;

use super::app::{LockedApp, LockedSource};
use crate::app::{self, AppHooks, RequiredApp};
use crate::git::{self, Checkout, CommitId, GitError, RefKind, Remote, ResolvedRef, Store};
use crate::parallel;
use crate::progress::{Progress, Stage, Unit};
use crate::spec::{AppSource, AppSpec, Spec, SpecError};

/// Maximum number of apps that are resolved or fetched in parallel.
pub const MAX_PARALLEL_FETCHES: usize = 4;

/// Which names may be resolved when there is no lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnpinnedPolicy {
    /// All names, as in `carafe lock`.
    Allowed,
    /// Tags, which usually do not move, but not branches.
    TagsOnly,
    /// None: each app must have a commit.
    Refused,
}

/// A pinned app, and its commit in the store.
#[derive(Clone, Debug)]
pub struct PinnedApp {
    /// The app as in the lock.
    pub locked: LockedApp,
    /// The commit in the store.
    pub checkout: Checkout,
}

/// Pins and fetches all apps of the spec, in parallel. No app is fetched before all names are resolved.
pub fn pin(
    spec: &Spec,
    store: &Store,
    unpinned: UnpinnedPolicy,
    progress: &Progress,
) -> Result<Vec<PinnedApp>, SpecError> {
    let task = progress.task(Stage::Lock, "names", Some(spec.apps.len() as u64), Unit::Items);
    let names = parallel::map(spec.apps.iter().collect(), MAX_PARALLEL_FETCHES, |app| {
        let name = resolve(app, unpinned)?;
        task.advance(1);
        Ok::<_, SpecError>(name)
    })?;
    let apps = if names.len() == 1 { "app" } else { "apps" };
    task.finish(format!("{} {apps} resolved", names.len()));
    let apps: Vec<_> = spec.apps.iter().zip(names).collect();
    let pinned = parallel::map(apps, MAX_PARALLEL_FETCHES, |(app, name)| {
        fetch_and_describe(app, &name, &spec.directory, store, progress)
    })?;
    check_all(spec, &pinned, store, progress)?;
    Ok(pinned)
}

/// Fetches all apps at their locked commits, and checks that they match the lock. `locked` must be the apps of a
/// lock that [matches](super::Lock::matches) the spec.
pub fn fetch(
    spec: &Spec,
    locked: &[LockedApp],
    store: &Store,
    progress: &Progress,
) -> Result<Vec<PinnedApp>, SpecError> {
    let apps: Vec<_> = spec.apps.iter().zip(locked).collect();
    parallel::map(apps, MAX_PARALLEL_FETCHES, |(app, locked): (&AppSpec, &LockedApp)| {
        let expected = Expected { commit: &locked.commit, time: Some(locked.time) };
        let checkout = checkout(app, Some(expected), &spec.directory, store, progress)?;
        let source = locked_source(app, locked.reference().cloned());
        let found = describe(app, source, checkout, store)?;
        match difference(&found.locked, locked) {
            None => Ok(found),
            Some(difference) => {
                let message = format!("`{}` does not match the lock: {difference}", app.label());
                Err(app.origin.error(message, "if the change is intended, run `carafe lock`"))
            }
        }
    })
}

/// Resolves the name of an app to a commit. `None` for a local directory.
fn resolve(
    app: &AppSpec,
    unpinned: UnpinnedPolicy,
) -> Result<Option<(CommitId, Option<ResolvedRef>)>, SpecError> {
    let AppSource::Git { remote, name, commit, off_branch, .. } = &app.source else { return Ok(None) };
    if unpinned == UnpinnedPolicy::Refused && commit.is_none() {
        let message = format!("`{}` has no `commit`, and there is no lock", app.label());
        return Err(app.origin.error(message, "run `carafe lock` and commit carafe.lock, or add `commit`"));
    }
    let Some(name) = name else {
        return Ok(commit.clone().map(|commit| (commit, None)));
    };
    let found = git::resolve(remote, name).map_err(|error| locate(app, error))?;
    let Some(commit) = commit else {
        if found.kind == RefKind::Branch && unpinned != UnpinnedPolicy::Allowed {
            let message = format!("`{name}` of {} is a branch, which is not pinned", app.label());
            let help = "run `carafe lock` and commit carafe.lock (or `carafe build --lock` to lock now), or add `commit`";
            return Err(app.origin.key("branch").error(message, help));
        }
        return Ok(Some((found.commit.clone(), Some(found))));
    };
    if !off_branch && !is_on(app, remote, &found, commit)? {
        let message = format!("commit {commit} is not on `{name}` of {}", app.label());
        let help = "check the commit; set `branch` to a branch that has it, or `off-branch = true` if this is intended";
        return Err(app.origin.key("commit").error(message, help));
    }
    Ok(Some((commit.clone(), Some(found))))
}

fn is_on(app: &AppSpec, remote: &Remote, name: &ResolvedRef, commit: &CommitId) -> Result<bool, SpecError> {
    let scratch = tempfile::tempdir().map_err(|error| {
        let help = "set TMPDIR to a writable directory with free space";
        app.origin.error(format!("failed to create a temporary directory: {error}"), help)
    })?;
    git::contains(remote, name, commit, scratch.path()).map_err(|error| locate(app, error))
}

/// Adds the position of the key that the error is about.
fn locate(app: &AppSpec, error: GitError) -> SpecError {
    let key = match (&app.source, &error) {
        (_, GitError::UnknownRef { .. }) => "branch",
        (_, GitError::UnknownCommit { .. }) => "commit",
        (AppSource::Git { .. }, _) => "url",
        (AppSource::Local { .. }, _) => "path",
    };
    app.origin.key(key).wrap(error)
}

fn fetch_and_describe(
    app: &AppSpec,
    name: &Option<(CommitId, Option<ResolvedRef>)>,
    directory: &Path,
    store: &Store,
    progress: &Progress,
) -> Result<PinnedApp, SpecError> {
    let expected = name.as_ref().map(|(commit, _)| Expected { commit, time: None });
    let checkout = checkout(app, expected, directory, store, progress)?;
    let found = name.as_ref().and_then(|(_, found)| found.clone());
    let source = locked_source(app, found.map(|found| (found.kind, found.name)));
    describe(app, source, checkout, store)
}

fn locked_source(app: &AppSpec, reference: Option<(RefKind, String)>) -> LockedSource {
    match &app.source {
        AppSource::Git { remote, .. } => LockedSource::Git { url: remote.url().to_owned(), reference },
        AppSource::Local { path } => LockedSource::Local { path: path.clone() },
    }
}

/// The first difference between an app and its entry in the lock.
fn difference(found: &LockedApp, locked: &LockedApp) -> Option<String> {
    let pairs = [
        ("tree", found.tree.to_string(), locked.tree.to_string()),
        ("commit", found.commit.to_string(), locked.commit.to_string()),
        ("name", found.name.clone(), locked.name.clone()),
        ("time", found.time.to_string(), locked.time.to_string()),
        ("source", format!("{:?}", found.source), format!("{:?}", locked.source)),
    ];
    let (what, found, locked) = pairs.into_iter().find(|(_, found, locked)| found != locked)?;
    Some(format!("its {what} is {found}, the lock has {locked}"))
}

/// A fetched app, as in a lock.
fn describe(
    app: &AppSpec,
    source: LockedSource,
    checkout: Checkout,
    store: &Store,
) -> Result<PinnedApp, SpecError> {
    let read = |path: &str| store.read_file(&checkout, path).ok().flatten();
    let app_name = app::app_name(&read).map_err(|error| app.origin.wrap(error))?;
    let (commit, tree, time) = (checkout.commit.clone(), checkout.tree.clone(), checkout.time);
    let locked = LockedApp { name: app_name, source, commit, tree, time };
    Ok(PinnedApp { locked, checkout })
}

/// What is known about a commit before it is fetched.
#[derive(Clone, Copy)]
struct Expected<'a> {
    commit: &'a CommitId,
    /// The time in the lock. For a local directory it becomes the time of its commit.
    time: Option<i64>,
}

fn checkout(
    app: &AppSpec,
    expected: Option<Expected<'_>>,
    directory: &Path,
    store: &Store,
    progress: &Progress,
) -> Result<Checkout, SpecError> {
    let label = app.label();
    let last = label.rsplit('/').next().unwrap_or(label);
    let short = last.strip_suffix(".git").unwrap_or(last);
    let task = progress.task(Stage::Fetch, short, None, Unit::Bytes);
    let checkout = match (&app.source, expected) {
        (AppSource::Git { remote, without_submodules, .. }, Some(expected)) => {
            store.fetch_with_empty_submodules(remote, expected.commit, without_submodules, &task)
        }
        (AppSource::Local { path }, expected) => {
            store.local(&directory.join(path), expected.and_then(|expected| expected.time), &task)
        }
        (AppSource::Git { .. }, None) => {
            unreachable!("an app with a repository is resolved before it is fetched")
        }
    };
    let checkout = checkout.map_err(|error| locate(app, error))?;
    task.finish(format!("commit {}", &checkout.commit.as_str()[..12]));
    Ok(checkout)
}

/// Checks that depend on all apps: unique names, and required apps.
fn check_all(spec: &Spec, pinned: &[PinnedApp], store: &Store, progress: &Progress) -> Result<(), SpecError> {
    let apps = || spec.apps.iter().zip(pinned);
    for (at, (app, one)) in apps().enumerate() {
        if let Some((other, _)) = apps().take(at).find(|(_, other)| other.locked.name == one.locked.name) {
            let (label, other, name) = (app.label(), other.label(), &one.locked.name);
            let message = format!("`{other}` and `{label}` have the same app name `{name}`");
            return Err(app.origin.error(message, "remove one of the two apps"));
        }
    }
    check_required_apps(spec, pinned, store, progress)
}

/// Checks the order of the apps by their `required_apps`, except for those in `without-required`.
fn check_required_apps(
    spec: &Spec,
    pinned: &[PinnedApp],
    store: &Store,
    progress: &Progress,
) -> Result<(), SpecError> {
    let hooks: Vec<Option<String>> = pinned
        .iter()
        .map(|app| {
            let hooks = store.read_file(&app.checkout, &format!("{0}/hooks.py", app.locked.name));
            hooks.ok().flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect();
    let apps = spec.apps.iter().zip(pinned).zip(&hooks).map(|((app, pinned), hooks)| AppHooks {
        name: &pinned.locked.name,
        url: Some(app.label()),
        hooks: hooks.as_deref(),
    });
    let spec_of = |name: &str| {
        let at = pinned.iter().position(|app| app.locked.name == name).unwrap_or_default();
        &spec.apps[at]
    };
    match app::check_required_apps(&apps.collect::<Vec<_>>()) {
        Ok(warnings) => {
            warnings.into_iter().for_each(|warning| progress.warn(warning));
            Ok(())
        }
        Err(mut error) => {
            let is_intended = |problem: &RequiredApp| {
                problem.listed_later.is_none()
                    && spec_of(&problem.app).without_required.contains(&problem.requires)
            };
            error.problems.retain(|problem| !is_intended(problem));
            let Some(first) = error.problems.first() else { return Ok(()) };
            let mut help = error.help().map(|help| help.to_string()).unwrap_or_default();
            if first.listed_later.is_none() {
                let requires = &first.requires;
                help += &format!("; or, to omit it on purpose, set without-required = [\"{requires}\"]");
            }
            Err(spec_of(&first.app).origin.error(error.to_string(), help))
        }
    }
}
