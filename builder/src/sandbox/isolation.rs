//! The isolation kinds, and what each of them provides.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::scratch;

/// How a build is separated from the machine that it runs on.
///
/// Code outside of this file does not compare kinds. It calls the method for the property that it
/// depends on. Every method matches all kinds, so the compiler requires each answer for a new kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Isolation {
    /// Namespaces of its own over an overlay of the build image's rootfs.
    Namespaces,
    /// None: steps run on the machine itself, in its root directory. For ephemeral CI runners.
    None,
}

impl Isolation {
    /// The value of `--isolation` that selects it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::None => "none",
        }
    }

    /// Whether steps run in the rootfs of the build image. Otherwise they use the machine's own
    /// tools, home directory and `PATH`, and no digest pins them.
    pub fn uses_build_image(self) -> bool {
        match self {
            Self::Namespaces => true,
            Self::None => false,
        }
    }

    /// Whether bind mounts, injected files and everything that a step writes are visible in the
    /// sandbox only. Otherwise they are on the machine, at the same paths.
    pub fn has_private_files(self) -> bool {
        match self {
            Self::Namespaces => true,
            Self::None => false,
        }
    }

    /// Whether steps have a network namespace of their own: loopback, and the egress proxy on it if
    /// the step may use one. Otherwise they have the machine's network.
    ///
    /// The launch of such a kind creates the sockets of the proxy and sends them, as
    /// `run_in_namespaces` does.
    pub fn has_private_network(self) -> bool {
        match self {
            Self::Namespaces => true,
            Self::None => false,
        }
    }

    /// Whether every request of a step passes the egress proxy, so that a recording of the build can
    /// be complete, and a replay can be enforced.
    pub fn can_record(self) -> bool {
        match self {
            Self::Namespaces => true,
            Self::None => false,
        }
    }

    /// The path on this machine of a file that a step created at `inside`, which is absolute and not
    /// below a bind mount.
    pub(super) fn host_path(self, scratch: &Path, inside: &Path) -> PathBuf {
        match self {
            Self::Namespaces => match inside.strip_prefix("/tmp") {
                Ok(rest) => join(&scratch.join(scratch::TMP), rest),
                Err(_) => join(&scratch.join(scratch::UPPER), inside.strip_prefix("/").unwrap_or(inside)),
            },
            Self::None => inside.to_owned(),
        }
    }
}

/// [`Path::join`] without the trailing slash that an empty `rest` adds: the path may be a file.
pub(super) fn join(directory: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { directory.to_owned() } else { directory.join(rest) }
}
