//! Two locks → how many commits are between the two versions of each app, from the apps' repositories.

use carafe_builder::cache::Cache;
use carafe_builder::git::{self, Distance, Remote};
use carafe_builder::lock::{Lock, LockedApp, LockedSource};
use carafe_builder::progress::{Progress, Stage, Unit};
use miette::miette;

use super::frappe::AppChange;
use super::opened::Opened;

/// Fills in the distances of the apps that are at two commits of one repository. A distance that
/// cannot be determined is a warning.
pub fn measure(want: &Opened, got: &Opened, apps: &mut [AppChange], cache: &Cache, progress: &Progress) {
    let (Some(want), Some(got)) = (&want.lock, &got.lock) else {
        progress.warn("failed to count commits: an image has no lock, which has the apps' repositories");
        return;
    };
    let task = progress.task(Stage::Fetch, "histories", Some(apps.len() as u64), Unit::Items);
    for app in &mut *apps {
        if let (Some(one), Some(other)) = (find(want, app), find(got, app)) {
            match between(one, other, cache) {
                Ok(distance) => app.distance = Some(distance),
                Err(error) => progress.warn(format!(
                    "failed to count commits between {} and {} of `{}`: {error}",
                    one.commit, other.commit, one.name
                )),
            }
        }
        task.advance(1);
    }
    task.finish(match apps.len() {
        1 => "1 app changed".to_owned(),
        count => format!("{count} apps changed"),
    });
}

fn find<'l>(lock: &'l Lock, app: &AppChange) -> Option<&'l LockedApp> {
    lock.apps.iter().find(|locked| locked.name == app.change.name)
}

fn between(one: &LockedApp, other: &LockedApp, cache: &Cache) -> miette::Result<Distance> {
    match (&one.source, &other.source) {
        (LockedSource::Git { url, .. }, LockedSource::Git { url: same, .. }) if url == same => {
            let scratch = cache.scratch()?;
            let directory = scratch.path().join("history");
            Ok(git::distance(&Remote::parse(url)?, &one.commit, &other.commit, &directory)?)
        }
        _ => Err(miette!("the commits are from different repositories")),
    }
}
