//! Help for machines that do not allow a sandbox.

use std::fs;

use rustix::io::Errno;

use super::setup_error::{SetupError, SetupOperation};

const WITHOUT_SANDBOX: &str = "on an ephemeral runner, --isolation=none builds without a sandbox";

/// What can be done about a failed operation of the setup. The kernel's error codes are ambiguous, so
/// the settings that are known to block the setup are read: after the attempt, never instead of it.
pub(super) fn help(error: &SetupError) -> String {
    let errno = Errno::from_raw_os_error(error.errno);
    match &error.operation {
        SetupOperation::Namespaces | SetupOperation::IdMap | SetupOperation::Propagation
            if errno == Errno::NOSPC =>
        {
            format!(
                "user.max_user_namespaces is {}: this machine or container allows no more user namespaces; ask its administrator to raise the limit; {WITHOUT_SANDBOX}",
                sysctl("user/max_user_namespaces").unwrap_or_default(),
            )
        }
        SetupOperation::Namespaces | SetupOperation::IdMap | SetupOperation::Propagation => {
            format!("{}; {WITHOUT_SANDBOX}", blocked_namespaces(sysctl))
        }
        SetupOperation::Overlay if errno == Errno::NODEV => {
            format!(
                "this kernel has no overlay file system: run `modprobe overlay` as root; {WITHOUT_SANDBOX}"
            )
        }
        SetupOperation::Overlay => format!(
            "an overlay requires Linux 5.11 or later, and a CARAFE_CACHE_DIR that is not on an overlay: in a container, mount a volume there; {WITHOUT_SANDBOX}"
        ),
        SetupOperation::Proc => format!(
            "this container hides parts of /proc, so the kernel does not allow a new one: run the container with `--security-opt systempaths=unconfined` (docker), `--security-opt unmask=ALL` (podman) or `procMount: Unmasked` (Kubernetes); {WITHOUT_SANDBOX}"
        ),
        SetupOperation::Root
        | SetupOperation::Loopback
        | SetupOperation::ProxySockets
        | SetupOperation::Privileges => {
            format!("a security module or seccomp profile may forbid it; {WITHOUT_SANDBOX}")
        }
        SetupOperation::Path { .. } => "check that it exists and that its type is correct".to_owned(),
        SetupOperation::Exec { program } => format!(
            "check that the build image has `{program}` in its PATH, and the interpreter that its first line names"
        ),
    }
}

/// The settings that forbid user namespaces.
fn blocked_namespaces(sysctl: impl Fn(&str) -> Option<String>) -> String {
    const APPARMOR: &str = "kernel/apparmor_restrict_unprivileged_userns";
    const DEBIAN: &str = "kernel/unprivileged_userns_clone";
    const LIMIT: &str = "user/max_user_namespaces";
    let is_set_to = |name, value: &str| sysctl(name).is_some_and(|found| found == value);
    let mut found = Vec::new();
    if is_set_to(APPARMOR, "1") {
        found.push("AppArmor forbids user namespaces (Ubuntu): run `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or add an AppArmor profile for carafe with `userns,`");
    }
    if is_set_to(DEBIAN, "0") {
        found.push("user namespaces are turned off: run `sysctl kernel.unprivileged_userns_clone=1`");
    }
    if is_set_to(LIMIT, "0") {
        found.push("user namespaces are turned off: run `sysctl user.max_user_namespaces=15000`");
    }
    if found.is_empty() {
        found.push("the container's seccomp profile may forbid user namespaces (the default of docker and Kubernetes does): run it with `--security-opt seccomp=unconfined`, or with a profile that allows unshare, mount and pivot_root");
    }
    found.join("; ")
}

fn sysctl(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_setting_that_blocks() {
        let ubuntu =
            |name: &str| (name == "kernel/apparmor_restrict_unprivileged_userns").then(|| "1".into());
        assert!(blocked_namespaces(ubuntu).contains("kernel.apparmor_restrict_unprivileged_userns=0"));
        assert!(blocked_namespaces(|_| None).contains("seccomp"));
    }

    #[test]
    fn every_failed_operation_has_help() {
        for operation in
            [SetupOperation::Namespaces, SetupOperation::Overlay, SetupOperation::Proc, SetupOperation::Root]
        {
            for errno in [Errno::PERM, Errno::NOSPC, Errno::INVAL] {
                let error = SetupError { operation: operation.clone(), errno: errno.raw_os_error() };
                assert!(help(&error).contains("--isolation=none"));
            }
        }
    }
}
