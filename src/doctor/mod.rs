//! Checks of this machine: `carafe doctor`.

use std::path::Path;
use std::process::{Command, Stdio};

use carafe_builder::cache::{Cache, CacheError};
use carafe_builder::sandbox;
use carafe_builder::spec::format_bytes;

use crate::check::Check;
use crate::registry::missing_processor_features;

/// Free disk space that a build of frappe and a few apps requires, in bytes: for base images, the
/// apps' history, their packages and the new layers, each once.
const REQUIRED_DISK: u64 = 10 << 30;

/// This program, even if its path was replaced.
const SELF: &str = "/proc/self/exe";

/// Checks this machine.
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
        return Check::fine("processor", "has the instructions that the TLS library requires");
    }
    let help = "use a machine with another processor for registries and HTTPS; OCI layouts, archives and SSH work on this one";
    Check::wrong("processor", format!("lacks {}", missing.join(", ")), help)
}

fn git() -> Check {
    let output = Command::new("git").arg("--version").stdin(Stdio::null()).output();
    match output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()) {
        Ok(version) if version.starts_with("git version") => Check::fine("git", version),
        _ => Check::note("git", "not in PATH: apps over SSH and in local directories require it"),
    }
}

fn in_cache(cache: &Cache) -> Vec<Check> {
    let scratch = match cache.scratch() {
        Ok(scratch) => scratch,
        Err(error) => return vec![Check::failed("cache", &error)],
    };
    let directory = scratch.path().parent().unwrap_or(scratch.path());
    let writable = Check::fine("cache", format!("`{}` is writable", directory.display()));
    vec![writable, disk(scratch.path()), sandbox(scratch.path())]
}

fn disk(directory: &Path) -> Check {
    match rustix::fs::statvfs(directory) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let message = format!("{} free for the cache", format_bytes(free));
            match free >= REQUIRED_DISK {
                true => Check::fine("disk", message),
                false => Check::note(
                    "disk",
                    format!(
                        "{message}: frappe and a few apps require up to {}; set CARAFE_CACHE_DIR to a directory on another disk",
                        format_bytes(REQUIRED_DISK)
                    ),
                ),
            }
        }
        Err(error) => Check::note("disk", format!("failed to read the free space: {error}")),
    }
}

fn sandbox(scratch: &Path) -> Check {
    let directory = scratch.join("sandbox");
    if let Err(source) = std::fs::create_dir(&directory) {
        return Check::failed("sandbox", &CacheError::Io { verb: "create", path: directory, source });
    }
    match sandbox::probe(Path::new(SELF), &directory) {
        Ok(()) => Check::fine("sandbox", "namespaces and an overlay can be set up"),
        Err(error) => Check::failed("sandbox", &error),
    }
}
