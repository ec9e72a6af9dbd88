//! The interface of a way to build a bench.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::BenchError;
use crate::lock::{Lock, LockedApp};
use crate::progress::Task;
use crate::sandbox::{Bind, InjectedFile, Limits, Sandbox};

/// An app that is ready to be installed.
#[derive(Clone, Debug)]
pub struct BenchApp {
    /// The app in the lock.
    pub locked: LockedApp,
    /// A bare repository on this machine with the commit as its only branch or tag, named by
    /// [`published_ref`](super::published_ref).
    pub repository: PathBuf,
}

/// All inputs of a build.
#[derive(Clone, Debug)]
pub struct BuildInputs<'a> {
    /// What is built.
    pub lock: &'a Lock,
    /// The lock's apps, frappe first.
    pub apps: Vec<BenchApp>,
    /// The limits of each step.
    pub limits: Limits,
    /// The maximum size of node's heap, in MiB.
    pub node_heap_mib: u64,
    /// A directory for the caches of uv, pip, yarn and npm, which the build may write to.
    pub downloads: Option<PathBuf>,
    /// A directory for the steps' logs.
    pub logs: PathBuf,
}

/// What a recipe requires in its sandbox in addition to the rootfs.
#[derive(Clone, Debug)]
pub struct SandboxAdditions {
    /// Bind mounts of this machine's directories.
    pub binds: Vec<Bind>,
    /// Small files.
    pub files: Vec<InjectedFile>,
    /// Variables of all steps.
    pub env: BTreeMap<String, String>,
}

/// A bench that was built.
#[derive(Clone, Debug)]
pub struct BuiltBench {
    /// Its directory on this machine, for [`crate::image_tree::finish`]: a real directory, not a link
    /// that a hostile build created.
    pub directory: PathBuf,
    /// The highest memory use of one step's processes together, in bytes.
    pub peak_memory: u64,
}

/// A way to build a bench at [`BENCH_DIR`](super::BENCH_DIR) in a sandbox.
pub trait Recipe {
    /// What the sandbox must have for [`Recipe::build`] with these inputs.
    fn sandbox_additions(&self, inputs: &BuildInputs<'_>) -> Result<SandboxAdditions, BenchError>;

    /// Builds the bench, with apps installed and assets built, in a sandbox that was opened with the
    /// additions.
    fn build(
        &self,
        inputs: &BuildInputs<'_>,
        sandbox: &Sandbox,
        task: &Task,
    ) -> Result<BuiltBench, BenchError>;

    /// Compiles the Python sources of the finished bench, in the sandbox that built it and without
    /// network. Must be called after normalization, which removes the bytecode of the build. Leaves
    /// out files that are not valid Python. Returns the highest memory use in bytes.
    fn compile(&self, inputs: &BuildInputs<'_>, sandbox: &Sandbox, task: &Task) -> Result<u64, BenchError>;

    /// The versions of the tools that affect the result, by name, in any sandbox with the build
    /// image's rootfs. Uses no network. Fails with the names of required tools that are missing.
    fn probe_tools(&self, sandbox: &Sandbox, log: &Path) -> Result<BTreeMap<String, String>, BenchError>;
}
