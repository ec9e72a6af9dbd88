//! What goes between carafe and its launcher: a description in, reports out. One JSON document
//! on one line each.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{Bind, InjectedFile, Isolation, Limits, Network};
use super::error::ExitReason;

/// All that the launcher needs for one step.
#[derive(Serialize, Deserialize)]
pub(super) struct Description {
    pub isolation: Isolation,
    pub network: Network,
    /// Has the directories `lower` (a link to the build root), `upper`, `work`, `merged`, `tmp`.
    pub scratch: PathBuf,
    pub binds: Vec<Bind>,
    /// What a system has that resolves names and trusts someone. The step may change them.
    pub network_files: Vec<InjectedFile>,
    /// Read-only to the step.
    pub files: Vec<InjectedFile>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    /// Empty for a probe: set everything up, run nothing.
    pub argv: Vec<String>,
    pub limits: Limits,
}

/// What the launcher says; the last one counts.
#[derive(Serialize, Deserialize)]
pub(super) enum Report {
    /// The sandbox stands, the command is about to start.
    Started,
    /// It could not be set up.
    Failed(SetupError),
    /// The command ended; `None` is exit status 0.
    Ended { ending: Option<ExitReason>, peak_memory: u64, elapsed: Duration },
}

/// A failed part of the set-up.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SetupError {
    pub setup: Setup,
    pub errno: i32,
}

impl SetupError {
    /// For `map_err`.
    pub fn at<E: Into<io::Error>>(setup: Setup) -> impl FnOnce(E) -> Self {
        |error| Self { setup, errno: error.into().raw_os_error().unwrap_or(0) }
    }

    /// For `map_err`, of an operation on a path inside.
    pub fn on<E: Into<io::Error>>(verb: Verb, path: &Path) -> impl FnOnce(E) -> Self {
        Self::at(Setup::Path { verb, path: path.to_owned() })
    }
}

/// A part of a sandbox's set-up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Setup {
    /// Making the namespaces.
    Namespaces,
    /// Mapping the user who runs carafe to 1000.
    IdMap,
    /// Making the mount namespace private.
    Propagation,
    /// Mounting the overlay over the build root.
    Overlay,
    /// Mounting a fresh /proc.
    Proc,
    /// Making the overlay the root.
    Root,
    /// Bringing loopback up.
    Loopback,
    /// Making the proxy_sockets's sockets.
    ProxySockets,
    /// Giving up privileges.
    Privileges,
    /// Something with a file or directory.
    Path {
        /// What was done.
        verb: Verb,
        /// With what.
        path: PathBuf,
    },
    /// Starting the step's program.
    Exec {
        /// Its name.
        program: String,
    },
}

/// What is done with a path during the set-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verb {
    /// Open it on this machine.
    Open,
    /// Make it inside.
    Create,
    /// Mount it inside.
    Mount,
    /// Read it inside.
    Read,
    /// Write it inside.
    Write,
    /// Use it as the step's directory.
    Enter,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Namespaces => "failed to create namespaces",
            Self::IdMap => "failed to map your user into the user namespace",
            Self::Propagation => "failed to make the mounts private",
            Self::Overlay => "failed to mount the overlay over the build root",
            Self::Proc => "failed to mount a fresh /proc",
            Self::Root => "failed to enter the new root",
            Self::Loopback => "failed to bring loopback up",
            Self::ProxySockets => "failed to open the way to the sandbox's door",
            Self::Privileges => "failed to give up privileges",
            Self::Path { verb, path } => {
                return write!(f, "failed to {} `{}`", verb.as_str(), path.display());
            }
            Self::Exec { program } => return write!(f, "failed to execute `{program}`"),
        };
        f.write_str(text)
    }
}

impl Verb {
    fn as_str(self) -> &'static str {
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
