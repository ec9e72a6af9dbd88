//! Driving bench: one implementation of a small trait, for its successor is announced.
//!
//! bench runs unmodified in the [sandbox](crate::sandbox). It clones each app from its public URL,
//! which git inside is told to look for in a repository of this machine that holds the pinned
//! commit alone: so a lock's commit counts, and no token is needed where code of others runs.

mod compile;
mod diagnose;
mod environment;
mod recipe;
mod redirect;
mod tools;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use recipe::BenchInit;
pub use redirect::published_ref;

use crate::lock::{Lock, LockedApp};
use crate::normalize::NormalizeError;
use crate::progress::Task;
use crate::sandbox::{Bind, InjectedFile, Limits, Sandbox, SandboxError};

/// The bench directory, in the sandbox and in the image.
pub const BENCH_DIR: &str = "/home/frappe/frappe-bench";
/// The home of the user `frappe`, inside.
pub const HOME_DIR: &str = "/home/frappe";

/// An app that is ready to be installed.
#[derive(Clone, Debug)]
pub struct BenchApp {
    /// What it is.
    pub locked: LockedApp,
    /// A bare repository on this machine with the commit as its only branch or tag, named by
    /// [`published_ref`].
    pub repository: PathBuf,
}

/// All that a build needs.
#[derive(Clone, Debug)]
pub struct BuildInputs<'a> {
    /// What is built.
    pub lock: &'a Lock,
    /// The lock's apps, frappe first.
    pub apps: Vec<BenchApp>,
    /// Of each step.
    pub limits: Limits,
    /// MiB that node may take for its heap.
    pub node_heap_mib: u64,
    /// A directory that keeps what uv, pip, yarn and npm download from one build to the next. The
    /// build may write what it likes into it.
    pub downloads: Option<PathBuf>,
    /// A directory for the steps' logs.
    pub logs: PathBuf,
}

/// What a recipe needs in its sandbox, beside the build root.
#[derive(Clone, Debug)]
pub struct SandboxAdditions {
    /// Directories of this machine.
    pub binds: Vec<Bind>,
    /// Small files.
    pub files: Vec<InjectedFile>,
    /// Variables of all steps.
    pub env: BTreeMap<String, String>,
}

/// A bench that was made.
#[derive(Clone, Debug)]
pub struct MadeBench {
    /// Where it is on this machine, for [`crate::image_tree::finish`]: a real directory, not one that a
    /// hostile build linked to.
    pub directory: PathBuf,
    /// Bytes: the most that the processes of one step together were seen to hold.
    pub peak_memory: u64,
}

/// A way to make a bench at [`BENCH_DIR`] inside a sandbox.
pub trait Recipe {
    /// What the sandbox must have for [`Recipe::build`] with these inputs.
    fn sandbox_additions(&self, inputs: &BuildInputs<'_>) -> Result<SandboxAdditions, BenchError>;

    /// Makes the bench, apps installed and assets built, in a sandbox that was opened with the
    /// additions.
    fn build(
        &self,
        inputs: &BuildInputs<'_>,
        sandbox: &Sandbox,
        task: &Task,
    ) -> Result<MadeBench, BenchError>;

    /// Compiles the python of the finished bench, in the sandbox that built it and without any
    /// network: after the canonical rules, which remove what was compiled before. A file that is
    /// no python is left out. Bytes that its processes held at most.
    fn compile(&self, inputs: &BuildInputs<'_>, sandbox: &Sandbox, task: &Task) -> Result<u64, BenchError>;

    /// The versions of the tools that decide what comes out, by name, in any sandbox over the
    /// build root. Uses no network. An error names those without which nothing can be built.
    fn probe_tools(&self, sandbox: &Sandbox, log: &Path) -> Result<BTreeMap<String, String>, BenchError>;
}

/// Why there is no bench.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BenchError {
    /// The sandbox, or what ran in it, failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sandbox(#[from] SandboxError),
    /// A step failed for a well-known cause.
    #[error("failed to build the bench")]
    Known {
        /// Which step, and what it said last.
        #[source]
        source: SandboxError,
        /// What the cause is.
        #[help]
        help: String,
    },
    /// The build image is no build image.
    #[error("failed to find {tools} in the build image")]
    #[diagnostic(help(
        "the build image needs bench, git, node, python3 and yarn on its PATH: use docker.io/frappe/build or an image made from it"
    ))]
    ToolsMissing {
        /// Separated by commas.
        tools: String,
    },
    /// A name in the lock that no app can have.
    #[error("failed to use `{name}` as an app's name")]
    #[diagnostic(help("the lock was edited: write it anew with `carafe lock`"))]
    AppName {
        /// Escaped.
        name: String,
    },
    /// A lock without frappe.
    #[error("failed to build the bench: the first app of the lock is not frappe")]
    #[diagnostic(help("the lock was edited: write it anew with `carafe lock`"))]
    FrappeNotFirst,
    /// bench ended well, but where the bench should be is none.
    #[error("failed to find the bench: `{}` in the sandbox is not a directory that the build made", directory.display())]
    #[diagnostic(help(
        "the build image may hold a bench already: use one without; or an app's build script put a link there"
    ))]
    NoBench {
        /// Inside.
        directory: PathBuf,
    },
    /// There is a bench already: bench would say so, end well, and leave it as it is.
    #[error("failed to build the bench: `{}` is there already", directory.display())]
    #[diagnostic(help("remove it, or build without `--isolation=none`"))]
    BenchInTheWay {
        /// On this machine.
        directory: PathBuf,
    },
    /// bench ended well and did not install an app.
    #[error("failed to install `{name}`: bench ended well, but made no directory apps/{name}")]
    #[diagnostic(help("the build image may hold a bench at {BENCH_DIR} already: use one without"))]
    AppNotInstalled {
        /// The app.
        name: String,
    },
    /// bench ended well and built no assets.
    #[error("failed to build the assets: bench ended well, but made no sites/assets/assets.json")]
    #[diagnostic(help("the end of `bench build`'s log says why"))]
    NoAssets,
    /// Between two steps, the bench was not what bench leaves.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Canonical(#[from] NormalizeError),
}
