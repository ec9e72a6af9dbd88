//! What to tell someone whose machine does not allow a sandbox.

use std::fs;

use rustix::io::Errno;

use super::launcher_protocol::{Setup, SetupError};

const OTHERWISE: &str =
    "on a runner that is thrown away after the build, --isolation=none builds without a sandbox";

/// What can be done about a set-up that failed. The kernel says little, so the switches that are
/// known to block are looked at: after the attempt, never instead of it.
pub(super) fn advice(error: &SetupError) -> String {
    let errno = Errno::from_raw_os_error(error.errno);
    match &error.setup {
        Setup::Namespaces | Setup::IdMap | Setup::Propagation if errno == Errno::NOSPC => format!(
            "user.max_user_namespaces is {}: this machine or container allows no more user namespaces; ask its administrator to raise it; {OTHERWISE}",
            switch("user/max_user_namespaces").unwrap_or_default(),
        ),
        Setup::Namespaces | Setup::IdMap | Setup::Propagation => {
            format!("{}; {OTHERWISE}", blocked_namespaces(switch))
        }
        Setup::Overlay if errno == Errno::NODEV => {
            format!("this kernel has no overlay file system: `modprobe overlay`, as root; {OTHERWISE}")
        }
        Setup::Overlay => format!(
            "an overlay needs Linux 5.11 or later, and CARAFE_CACHE_DIR on a disk that is no overlay itself: in a container, mount a volume there; {OTHERWISE}"
        ),
        Setup::Proc => format!(
            "this container hides parts of /proc, so the kernel gives no new one: run it with `--security-opt systempaths=unconfined` (docker), `--security-opt unmask=ALL` (podman) or `procMount: Unmasked` (Kubernetes); {OTHERWISE}"
        ),
        Setup::Root | Setup::Loopback | Setup::ProxySockets | Setup::Privileges => {
            format!("a security module or seccomp profile may forbid it; {OTHERWISE}")
        }
        Setup::Path { .. } => "check that it exists and what it is".to_owned(),
        Setup::Exec { program } => {
            format!(
                "check that the build root has `{program}` in its PATH, and what its script names as interpreter"
            )
        }
    }
}

/// The switches that are set so as to forbid user namespaces.
fn blocked_namespaces(switch: impl Fn(&str) -> Option<String>) -> String {
    const APPARMOR: &str = "kernel/apparmor_restrict_unprivileged_userns";
    const DEBIAN: &str = "kernel/unprivileged_userns_clone";
    const LIMIT: &str = "user/max_user_namespaces";
    let is = |name, value: &str| switch(name).is_some_and(|found| found == value);
    let mut found = Vec::new();
    if is(APPARMOR, "1") {
        found.push("AppArmor forbids them (Ubuntu): `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or an AppArmor profile for carafe with `userns,`");
    }
    if is(DEBIAN, "0") {
        found.push("they are switched off: `sysctl kernel.unprivileged_userns_clone=1`");
    }
    if is(LIMIT, "0") {
        found.push("they are switched off: `sysctl user.max_user_namespaces=15000`");
    }
    if found.is_empty() {
        found.push("the container's seccomp profile forbids them (the default of docker and Kubernetes does): run it with `--security-opt seccomp=unconfined`, or a profile that allows unshare, mount and pivot_root");
    }
    found.join("; ")
}

fn switch(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_that_blocks_is_named() {
        let ubuntu =
            |name: &str| (name == "kernel/apparmor_restrict_unprivileged_userns").then(|| "1".into());
        assert!(blocked_namespaces(ubuntu).contains("kernel.apparmor_restrict_unprivileged_userns=0"));
        assert!(blocked_namespaces(|_| None).contains("seccomp"));
    }

    #[test]
    fn every_failure_says_what_to_do() {
        for setup in [Setup::Namespaces, Setup::Overlay, Setup::Proc, Setup::Root] {
            for errno in [Errno::PERM, Errno::NOSPC, Errno::INVAL] {
                let error = SetupError { setup: setup.clone(), errno: errno.raw_os_error() };
                assert!(advice(&error).contains("--isolation=none"));
            }
        }
    }
}
