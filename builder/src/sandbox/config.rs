//! What a sandbox is made of, and what runs in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::proxy_sockets::ProxyHandle;
use crate::secret::Redactor;

/// How far the build is kept from the machine it runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Isolation {
    /// Namespaces of its own over an overlay of the build root.
    Namespaces,
    /// On the machine itself, in its own root: for those who know (a runner that is thrown away).
    None,
}

/// What a step reaches over the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Network {
    /// Its own loopback, and there what the proxy lets through. With [`Isolation::None`] all
    /// that this machine reaches.
    EgressProxy,
    /// Its own loopback alone. Not kept with [`Isolation::None`].
    None,
}

/// A file or directory of this machine that is seen inside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// On this machine.
    pub source: PathBuf,
    /// Inside, absolute. Made if it is not there.
    pub target: PathBuf,
    /// Whether the build may change it.
    pub writable: bool,
}

/// A small file that is written inside before each step, over what was there, and read-only.
///
/// With [`Isolation::None`] it is written on this machine and removed with the sandbox; a file
/// that is there already is never overwritten.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InjectedFile {
    /// Inside, absolute. Its directories are made.
    pub path: PathBuf,
    /// All of it.
    pub content: Vec<u8>,
    /// Permission bits, such as `0o644`.
    pub mode: u32,
}

/// What a sandbox is made of.
#[derive(Clone)]
pub struct SandboxConfig {
    /// How far it is kept from this machine.
    pub isolation: Isolation,
    /// The unpacked build root: the overlay's lower layer, never written. Its files belong to
    /// whoever runs carafe, or they cannot be changed inside. Unused with [`Isolation::None`].
    pub root: PathBuf,
    /// An empty directory of this run, on a disk with room: everything that is written inside,
    /// `/tmp` included, lands beneath it. It must not lie on an overlay itself.
    pub scratch: PathBuf,
    /// Seen inside, in this order. With [`Isolation::None`] a symbolic link stands for each.
    pub binds: Vec<Bind>,
    /// Written before each step.
    pub files: Vec<InjectedFile>,
    /// Added to the sandbox's own environment, over it. Nothing of this machine's environment is
    /// seen inside.
    pub env: BTreeMap<String, String>,
    /// Who answers steps with [`Network::EgressProxy`]; without one nobody does. Unused with
    /// [`Isolation::None`].
    pub proxy: Option<Arc<dyn ProxyHandle>>,
    /// Cleans the output.
    pub redactor: Redactor,
    /// An executable whose `main` starts with [`launched`](super::launched): normally this one
    /// ([`std::env::current_exe`]).
    pub launcher: PathBuf,
    /// Ends the running step, from any thread.
    pub cancel: CancelToken,
}

/// One command.
#[derive(Clone, Debug)]
pub struct Step {
    /// For people: in progress and in errors.
    pub name: String,
    /// The program, sought in `PATH`, and its arguments.
    pub argv: Vec<String>,
    /// Inside, absolute. It must exist.
    pub cwd: PathBuf,
    /// Over the sandbox's.
    pub env: BTreeMap<String, String>,
    /// What it reaches.
    pub network: Network,
    /// What it may use.
    pub limits: Limits,
    /// Gets its whole output, redacted, on this machine; appended to.
    pub log: PathBuf,
}

/// What a step may use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Time on the clock.
    pub wall: Duration,
    /// Bytes that its processes together hold at any moment (PSS). It is sampled, so a short
    /// peak above it can pass.
    pub memory: Option<u64>,
}

/// What a step that ended well used.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Bytes: the most that its processes together were seen to hold (PSS).
    pub peak_memory: u64,
    /// On the clock.
    pub elapsed: Duration,
}

/// Ends whatever runs, from any thread, and lets nothing start afterwards. Cheap to clone.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<Cancel>>);

#[derive(Default)]
struct Cancel {
    cancelled: bool,
    next: u64,
    /// Dropping one closes the pipe whose end makes a running launcher kill its processes.
    lifelines: BTreeMap<u64, std::process::ChildStdin>,
}

impl CancelToken {
    /// Kills every step that runs with this token; they fail as cancelled. Returns at once.
    pub fn cancel(&self) {
        let mut state = self.state();
        state.cancelled = true;
        state.lifelines.clear();
    }

    /// Whether [`cancel`](Self::cancel) was called.
    pub fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    /// Keeps the lifeline of a running launcher until the guard goes, or until cancelled.
    pub(super) fn hold(&self, lifeline: std::process::ChildStdin) -> Lifeline {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        if !state.cancelled {
            state.lifelines.insert(id, lifeline);
        }
        Lifeline { token: self.clone(), id }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Cancel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`CancelToken::hold`].
pub(super) struct Lifeline {
    token: CancelToken,
    id: u64,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.token.state().lifelines.remove(&self.id);
    }
}
