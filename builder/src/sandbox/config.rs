//! The configuration of a sandbox and of the steps in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cancel::CancelToken;
use super::isolation::Isolation;
use super::proxy_sockets::ProxyHandle;
use crate::secret::Redactor;

/// What a step can reach over the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Network {
    /// Its own loopback, and the egress proxy on it. Without a
    /// [private network](Isolation::has_private_network), everything that this machine reaches.
    EgressProxy,
    /// Its own loopback only. Not enforced without a private network.
    None,
}

/// A file or directory of this machine that is visible in the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// The path on this machine.
    pub source: PathBuf,
    /// The path in the sandbox, absolute. Created if it does not exist.
    pub target: PathBuf,
    /// Whether the build may change it.
    pub writable: bool,
}

/// A small file that is written into the sandbox before each step, replaces a file at its path, and
/// is read-only.
///
/// Without [private files](Isolation::has_private_files) it is written on this machine and removed
/// with the sandbox; an existing file is never overwritten.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InjectedFile {
    /// The path in the sandbox, absolute. Parent directories are created.
    pub path: PathBuf,
    /// Its complete content.
    pub content: Vec<u8>,
    /// Permission bits, such as `0o644`.
    pub mode: u32,
}

/// The configuration of a sandbox.
#[derive(Clone)]
pub struct SandboxConfig {
    /// How it is separated from this machine.
    pub isolation: Isolation,
    /// The rootfs: the overlay's lower directory, which is never written to. Its files must belong
    /// to the user who runs Carafe, or steps cannot change them. Unused if the isolation kind does
    /// not [use the build image](Isolation::uses_build_image).
    pub root: PathBuf,
    /// An empty directory of this run, on a disk with enough free space: everything that is written
    /// in the sandbox, including `/tmp`, is stored below it. It must not be on an overlay.
    pub scratch: PathBuf,
    /// Mounted in this order. Without [private files](Isolation::has_private_files) each is a
    /// symbolic link.
    pub binds: Vec<Bind>,
    /// Written before each step.
    pub files: Vec<InjectedFile>,
    /// Added to the sandbox's own environment, which it overrides. No variable of this machine is
    /// visible in the sandbox.
    pub env: BTreeMap<String, String>,
    /// Serves steps with [`Network::EgressProxy`]; without one, they have no network. Unused without
    /// a [private network](Isolation::has_private_network).
    pub proxy: Option<Arc<dyn ProxyHandle>>,
    /// Redacts the output.
    pub redactor: Redactor,
    /// An executable whose `main` starts with [`run_as_launcher`](super::run_as_launcher): normally
    /// this one ([`std::env::current_exe`]).
    pub launcher: PathBuf,
    /// Ends the running step, from any thread.
    pub cancel: CancelToken,
}

/// One command.
#[derive(Clone, Debug)]
pub struct Step {
    /// A name for people, shown in progress and errors.
    pub name: String,
    /// The program, searched in `PATH`, and its arguments.
    pub argv: Vec<String>,
    /// The working directory in the sandbox, absolute. It must exist.
    pub cwd: PathBuf,
    /// Overrides the sandbox's variables.
    pub env: BTreeMap<String, String>,
    /// What it can reach.
    pub network: Network,
    /// What it may use.
    pub limits: Limits,
    /// A file on this machine to which its complete output is appended, redacted.
    pub log: PathBuf,
}

/// What a step may use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Maximum run time.
    pub wall_clock: Duration,
    /// Maximum of the memory that its processes use together at any moment, in bytes (PSS). It is
    /// sampled, so a short peak above it can pass.
    pub memory: Option<u64>,
}

/// What a step used that succeeded.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The highest sampled memory use of its processes together, in bytes (PSS).
    pub peak_memory: u64,
    /// Run time.
    pub elapsed: Duration,
}
