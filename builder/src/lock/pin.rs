//! From names to commits: each app of a spec, pinned and fetched.

use std::path::Path;

use miette::Diagnostic;

use super::{LockedApp, LockedSource};
use crate::app::{self, AppHooks, RequiredApp};
use crate::git::{self, Checkout, CommitId, GitError, RefKind, Remote, ResolvedRef, Store};
use crate::parallel;
use crate::progress::{Progress, Stage, Unit};
use crate::spec::{AppSource, AppSpec, Spec, SpecError};

/// Apps that are resolved or fetched at the same time.
pub const MAX_PARALLEL_FETCHES: usize = 4;

/// What may be resolved now, where nothing is locked yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnpinnedPolicy {
    /// Any name: this is what `carafe lock` is for.
    Allowed,
    /// Tags, which do not move as a rule, but no branches.
    TagsOnly,
    /// Nothing: each app must name its commit.
    Refused,
}

/// An app at its commit, and the commit in the store.
#[derive(Clone, Debug)]
pub struct PinnedApp {
    /// For the lock.
    pub locked: LockedApp,
    /// In the store.
    pub checkout: Checkout,
}

/// Pins and fetches every app of the spec, several at once. Nothing is fetched before all names
/// are resolved.
pub fn pin(
    spec: &Spec,
    store: &Store,
    moving: UnpinnedPolicy,
    progress: &Progress,
) -> Result<Vec<PinnedApp>, SpecError> {
    let task = progress.task(Stage::Lock, "names", Some(spec.apps.len() as u64), Unit::Items);
    let names = parallel::map(spec.apps.iter().collect(), MAX_PARALLEL_FETCHES, |app| {
        let name = resolve(app, moving)?;
        task.advance(1);
        Ok::<_, SpecError>(name)
    })?;
    task.finish(format!("{} apps resolved", names.len()));
    let apps: Vec<_> = spec.apps.iter().zip(names).collect();
    let pinned = parallel::map(apps, MAX_PARALLEL_FETCHES, |(app, name)| {
        fetch_and_describe(app, &name, &spec.directory, store, progress)
    })?;
    check_together(spec, &pinned, store, progress)?;
    Ok(pinned)
}

/// Fetches every app at the commit that the lock names; `spec` and the lock must belong together.
pub fn fetch(
    spec: &Spec,
    locked: &[LockedApp],
    store: &Store,
    progress: &Progress,
) -> Result<Vec<PinnedApp>, SpecError> {
    let apps: Vec<_> = spec.apps.iter().zip(locked).collect();
    parallel::map(apps, MAX_PARALLEL_FETCHES, |(app, locked): (&AppSpec, &LockedApp)| {
        let wanted = Wanted { commit: &locked.commit, time: Some(locked.time) };
        let checkout = checkout(app, Some(wanted), &spec.directory, store, progress)?;
        let source = locked_source(app, locked.reference().cloned());
        let found = describe(app, source, checkout, store)?;
        match difference(&found.locked, locked) {
            None => Ok(found),
            Some(what) => {
                let message = format!("`{}` is not what the lock says: {what}", app.label());
                Err(app.origin.error(message, "if the change is wanted, run `carafe lock`"))
            }
        }
    })
}

/// What an app's names stand for now. `None` for a local directory.
fn resolve(
    app: &AppSpec,
    moving: UnpinnedPolicy,
) -> Result<Option<(CommitId, Option<ResolvedRef>)>, SpecError> {
    let AppSource::Git { remote, name, commit, off_branch, .. } = &app.source else { return Ok(None) };
    if moving == UnpinnedPolicy::Refused && commit.is_none() {
        let message = format!("`{}` names no commit, and there is no lock", app.label());
        return Err(app.origin.error(message, "run `carafe lock` and commit carafe.lock, or add `commit`"));
    }
    let Some(name) = name else {
        return Ok(commit.clone().map(|commit| (commit, None)));
    };
    let found = git::resolve(remote, name).map_err(|error| explain(app, error))?;
    let Some(commit) = commit else {
        if found.kind == RefKind::Branch && moving != UnpinnedPolicy::Allowed {
            let message = format!("`{name}` of {} is a branch: it moves", app.label());
            let help = "run `carafe lock` and commit carafe.lock (or `carafe build --lock` to lock now), or add `commit`";
            return Err(app.origin.key("branch").error(message, help));
        }
        return Ok(Some((found.commit.clone(), Some(found))));
    };
    if !off_branch && !is_on(app, remote, &found, commit)? {
        let message = format!("commit {commit} is not on `{name}` of {}", app.label());
        let help =
            "check the commit; name the branch that holds it, or say `off-branch = true` if it is meant";
        return Err(app.origin.key("commit").error(message, help));
    }
    Ok(Some((commit.clone(), Some(found))))
}

fn is_on(app: &AppSpec, remote: &Remote, name: &ResolvedRef, commit: &CommitId) -> Result<bool, SpecError> {
    let scratch = tempfile::tempdir().map_err(|error| {
        let help = "TMPDIR names another place for it";
        app.origin.error(format!("failed to create a temporary directory: {error}"), help)
    })?;
    git::contains(remote, name, commit, scratch.path()).map_err(|error| explain(app, error))
}

/// Points at the part of the app that the error is about.
fn explain(app: &AppSpec, error: GitError) -> SpecError {
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
    let wanted = name.as_ref().map(|(commit, _)| Wanted { commit, time: None });
    let checkout = checkout(app, wanted, directory, store, progress)?;
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

/// What is not the same in two locks for one app.
fn difference(found: &LockedApp, locked: &LockedApp) -> Option<String> {
    let pairs = [
        ("tree", found.tree.to_string(), locked.tree.to_string()),
        ("commit", found.commit.to_string(), locked.commit.to_string()),
        ("name", found.name.clone(), locked.name.clone()),
        ("time", found.time.to_string(), locked.time.to_string()),
        ("source", format!("{:?}", found.source), format!("{:?}", locked.source)),
    ];
    let (what, found, locked) = pairs.into_iter().find(|(_, found, locked)| found != locked)?;
    Some(format!("{what} {found} instead of {locked}"))
}

/// An app that was fetched, as it stands in a lock.
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

/// What is known of a commit before it is fetched.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    commit: &'a CommitId,
    /// From the lock: what a local directory's commit was dated.
    time: Option<i64>,
}

fn checkout(
    app: &AppSpec,
    wanted: Option<Wanted<'_>>,
    directory: &Path,
    store: &Store,
    progress: &Progress,
) -> Result<Checkout, SpecError> {
    let label = app.label();
    let last = label.rsplit('/').next().unwrap_or(label);
    let short = last.strip_suffix(".git").unwrap_or(last);
    let task = progress.task(Stage::Fetch, short, None, Unit::Bytes);
    let checkout = match (&app.source, wanted) {
        (AppSource::Git { remote, without_submodules, .. }, Some(wanted)) => {
            store.fetch_with_empty_submodules(remote, wanted.commit, without_submodules, &task)
        }
        (AppSource::Local { path }, wanted) => {
            store.local(&directory.join(path), wanted.and_then(|wanted| wanted.time), &task)
        }
        (AppSource::Git { .. }, None) => unreachable!("a git app is resolved before it is fetched"),
    };
    let checkout = checkout.map_err(|error| explain(app, error))?;
    task.finish(format!("commit {}", &checkout.commit.as_str()[..12]));
    Ok(checkout)
}

/// What only shows once all apps are known: two of one name, and who requires whom.
fn check_together(
    spec: &Spec,
    pinned: &[PinnedApp],
    store: &Store,
    progress: &Progress,
) -> Result<(), SpecError> {
    let named = || spec.apps.iter().zip(pinned);
    for (at, (app, one)) in named().enumerate() {
        if let Some((other, _)) = named().take(at).find(|(_, other)| other.locked.name == one.locked.name) {
            let message =
                format!("`{}` and `{}` are both the app `{}`", other.label(), app.label(), one.locked.name);
            return Err(app.origin.error(message, "remove one of the two"));
        }
    }
    check_required_apps(spec, pinned, store, progress)
}

/// The order of apps, but for what the spec leaves out on purpose.
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
            let on_purpose = |problem: &RequiredApp| {
                problem.later.is_none() && spec_of(&problem.app).without_required.contains(&problem.needs)
            };
            error.problems.retain(|problem| !on_purpose(problem));
            let Some(first) = error.problems.first() else { return Ok(()) };
            let mut help = error.help().map(|help| help.to_string()).unwrap_or_default();
            if first.later.is_none() {
                let needs = &first.needs;
                help += &format!("; or, if it is left out on purpose: without-required = [\"{needs}\"]");
            }
            Err(spec_of(&first.app).origin.error(error.to_string(), help))
        }
    }
}
