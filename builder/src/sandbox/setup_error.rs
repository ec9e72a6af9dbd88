//! The operations of a sandbox's setup, and how one fails.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A failed operation of the setup, as the launcher reports it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SetupError {
    pub operation: SetupOperation,
    pub errno: i32,
}

impl SetupError {
    /// For `map_err`.
    pub fn at<E: Into<io::Error>>(operation: SetupOperation) -> impl FnOnce(E) -> Self {
        |error| Self { operation, errno: error.into().raw_os_error().unwrap_or(0) }
    }

    /// For `map_err`, of an operation on a path in the sandbox.
    pub fn on<E: Into<io::Error>>(operation: PathOperation, path: &Path) -> impl FnOnce(E) -> Self {
        Self::at(SetupOperation::Path { operation, path: path.to_owned() })
    }
}

/// An operation of a sandbox's setup.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum SetupOperation {
    /// Creating the namespaces.
    Namespaces,
    /// Mapping the user who runs Carafe to 1000.
    IdMap,
    /// Making the mount namespace private.
    Propagation,
    /// Mounting the overlay over the rootfs.
    Overlay,
    /// Mounting a new /proc.
    Proc,
    /// Making the overlay the root directory.
    Root,
    /// Bringing the loopback interface up.
    Loopback,
    /// Creating the sockets of the egress proxy.
    ProxySockets,
    /// Dropping privileges.
    Privileges,
    /// An operation on a file or directory.
    Path {
        /// Which operation.
        operation: PathOperation,
        /// On which path.
        path: PathBuf,
    },
    /// Starting the step's program.
    Exec {
        /// Its name.
        program: String,
    },
}

/// An operation on a path during the setup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PathOperation {
    /// Open it on this machine.
    Open,
    /// Create it in the sandbox.
    Create,
    /// Mount it in the sandbox.
    Mount,
    /// Read it in the sandbox.
    Read,
    /// Write it in the sandbox.
    Write,
    /// Use it as the step's working directory.
    Enter,
}

impl fmt::Display for SetupOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Namespaces => "failed to create namespaces",
            Self::IdMap => "failed to map your user into the user namespace",
            Self::Propagation => "failed to make the mounts private",
            Self::Overlay => "failed to mount the overlay over the rootfs",
            Self::Proc => "failed to mount a new /proc",
            Self::Root => "failed to change the root directory",
            Self::Loopback => "failed to bring the loopback interface up",
            Self::ProxySockets => "failed to create the sockets of the egress proxy",
            Self::Privileges => "failed to drop privileges",
            Self::Path { operation, path } => {
                return write!(f, "failed to {} `{}`", operation.verb(), path.display());
            }
            Self::Exec { program } => return write!(f, "failed to execute `{program}`"),
        };
        f.write_str(text)
    }
}

impl PathOperation {
    fn verb(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Mount => "mount",
            Self::Read => "read",
            Self::Write => "write",
            Self::Enter => "enter",
        }
    }
}
