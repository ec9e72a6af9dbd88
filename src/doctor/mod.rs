//! What this machine allows: `carafe doctor`.

use std::path::Path;
use std::process::{Command, Stdio};

use carafe_builder::cache::{Cache, CacheError};
use carafe_builder::sandbox;

use crate::check::Check;
use carafe_builder::net::tls::missing_processor_features;

/// Base images, the apps' history, their packages and the new layers, each once: with less, a
/// build of frappe and a few apps may not end.
const ENOUGH_DISK: u64 = 10 << 30;
const FEW: &str = "frappe and a few apps take up to 10 GB; CARAFE_CACHE_DIR names another disk";
/// This program, whatever became of its path.
const SELF: &str = "/proc/self/exe";

/// Looks at this machine.
pub fn examine() -> Vec<Check> {
    let mut checks = vec![processor(), git()];
    match Cache::from_environment() {
        Ok(cache) => checks.extend(in_cache(&cache)),
        Err(error) => checks.push(Check::failed("cache", &error)),
    }
    checks
}

fn processor() -> Check {
    let missing = missing_processor_features();
    if missing.is_empty() {
        return Check::fine("processor", "it has what TLS is written for here");
    }
    let help = "registries and https need another processor; layouts, archives and ssh do not";
    Check::wrong("processor", format!("it has no {}", missing.join(", ")), help)
}

fn git() -> Check {
    let output = Command::new("git").arg("--version").stdin(Stdio::null()).output();
    match output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()) {
        Ok(version) if version.starts_with("git version") => Check::fine("git", version),
        _ => Check::note("git", "not in PATH: apps over ssh and in local directories need it"),
    }
}

fn in_cache(cache: &Cache) -> Vec<Check> {
    let scratch = match cache.scratch() {
        Ok(scratch) => scratch,
        Err(error) => return vec![Check::failed("cache", &error)],
    };
    let directory = scratch.path().parent().unwrap_or(scratch.path());
    let writable = Check::fine("cache", format!("`{}` can be written", directory.display()));
    vec![writable, disk(scratch.path()), sandbox(scratch.path())]
}

fn disk(directory: &Path) -> Check {
    match rustix::fs::statvfs(directory) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let message = format!("{:.1} GB free for the cache", free as f64 / 1e9);
            match free >= ENOUGH_DISK {
                true => Check::fine("disk", message),
                false => Check::note("disk", format!("{message}: {FEW}")),
            }
        }
        Err(error) => Check::note("disk", format!("the free space is not known: {error}")),
    }
}

fn sandbox(scratch: &Path) -> Check {
    let directory = scratch.join("sandbox");
    if let Err(source) = std::fs::create_dir(&directory) {
        return Check::failed("sandbox", &CacheError::Io { verb: "create", path: directory, source });
    }
    match sandbox::probe(Path::new(SELF), &directory) {
        Ok(()) => Check::fine("sandbox", "namespaces and an overlay were set up"),
        Err(error) => Check::failed("sandbox", &error),
    }
}
