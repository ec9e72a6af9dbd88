//! Checks of this machine: `carafe doctor`.

use std::path::Path;
use std::process::{Command, Stdio};

use carafe_builder::cache::{Cache, CacheError};
use carafe_builder::sandbox;
use carafe_builder::spec::format_bytes;

use crate::check::Check;
use carafe_builder::net::tls::missing_processor_features;

/// The free space in bytes for a build of Frappe and a few apps: base image, build image, the apps'
/// repositories and packages, and the new layers.
const MIN_FREE_BYTES: u64 = 10 << 30;
const LOW_DISK_HELP: &str =
    "a build of Frappe and a few apps needs up to 10 GB; set CARAFE_CACHE_DIR to a directory on another disk";
/// This program, even if its file was replaced.
const SELF: &str = "/proc/self/exe";

/// Checks this machine.
pub fn check_machine() -> Vec<Check> {
    let mut checks = vec![processor(), git()];
    match Cache::from_environment() {
        Ok(cache) => checks.extend(cache_checks(&cache)),
        Err(error) => checks.push(Check::failed("cache", &error)),
    }
    checks
}

fn processor() -> Check {
    let missing = missing_processor_features();
    if missing.is_empty() {
        return Check::pass("processor", "it has the instructions that TLS needs");
    }
    let help = "without them, registries and https URLs cannot be used; layouts, archives and ssh can";
    Check::fail("processor", format!("missing instructions: {}", missing.join(", ")), help)
}

fn git() -> Check {
    let output = Command::new("git").arg("--version").stdin(Stdio::null()).output();
    match output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()) {
        Ok(version) if version.starts_with("git version") => Check::pass("git", version),
        _ => Check::warn("git", "not in PATH: apps over ssh and in local directories need it"),
    }
}

fn cache_checks(cache: &Cache) -> Vec<Check> {
    let scratch = match cache.scratch() {
        Ok(scratch) => scratch,
        Err(error) => return vec![Check::failed("cache", &error)],
    };
    let directory = scratch.path().parent().unwrap_or(scratch.path());
    let writable = Check::pass("cache", format!("`{}` is writable", directory.display()));
    vec![writable, disk(scratch.path()), sandbox(scratch.path())]
}

fn disk(directory: &Path) -> Check {
    match rustix::fs::statvfs(directory) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let message = format!("{} free for the cache", format_bytes(free));
            match free >= MIN_FREE_BYTES {
                true => Check::pass("disk", message),
                false => Check { help: Some(LOW_DISK_HELP.to_owned()), ..Check::warn("disk", message) },
            }
        }
        Err(error) => Check::warn("disk", format!("failed to read the free space: {error}")),
    }
}

fn sandbox(scratch: &Path) -> Check {
    let directory = scratch.join("sandbox");
    if let Err(source) = std::fs::create_dir(&directory) {
        return Check::failed("sandbox", &CacheError::Io { verb: "create", path: directory, source });
    }
    match sandbox::probe(Path::new(SELF), &directory) {
        Ok(()) => Check::pass("sandbox", "namespaces and an overlay mount work"),
        Err(error) => Check::failed("sandbox", &error),
    }
}
