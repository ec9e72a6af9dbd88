//! Why a bench could not be built.

use std::path::PathBuf;

use super::paths::BENCH_DIR;
use crate::normalize::NormalizeError;
use crate::sandbox::SandboxError;

/// Why a bench could not be built.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BenchError {
    /// The sandbox, or a step in it, failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Sandbox(#[from] SandboxError),
    /// A step failed, and its output shows the cause.
    #[error("failed to build the bench")]
    Known {
        /// Which step, and its last output.
        #[source]
        source: SandboxError,
        /// The cause and the next action.
        #[help]
        help: String,
    },
    /// Required tools are missing.
    #[error("failed to find {tools} in the build image")]
    #[diagnostic(help(
        "the build image must have bench, git, node, python3 and yarn in its PATH: use docker.io/frappe/build or an image built from it"
    ))]
    ToolsMissing {
        /// Separated by commas.
        tools: String,
    },
    /// A name in the lock is not valid for an app.
    #[error("failed to build the bench: `{name}` is not a valid app name")]
    #[diagnostic(help("the lock was edited: create it again with `carafe lock`"))]
    AppName {
        /// Escaped.
        name: String,
    },
    /// The lock does not start with frappe.
    #[error("failed to build the bench: the first app of the lock is not frappe")]
    #[diagnostic(help("the lock was edited: create it again with `carafe lock`"))]
    FrappeNotFirst,
    /// bench succeeded, but the bench directory does not exist, or is a link.
    #[error("failed to find the bench: `{}` in the sandbox is not a directory that the build created", directory.display())]
    #[diagnostic(help(
        "the build image may contain a bench: use one without; or a build script of an app replaced the directory by a link"
    ))]
    NoBench {
        /// In the sandbox.
        directory: PathBuf,
    },
    /// The bench directory exists before the build: bench would exit with 0 and not change it.
    #[error("failed to build the bench: `{}` exists", directory.display())]
    #[diagnostic(help("remove it, or build without `--isolation=none`"))]
    BenchExists {
        /// On this machine.
        directory: PathBuf,
    },
    /// bench succeeded, but did not install an app.
    #[error("failed to install `{name}`: bench exited with status 0, but created no directory apps/{name}")]
    #[diagnostic(help("the build image may contain a bench at {BENCH_DIR}: use one without"))]
    AppNotInstalled {
        /// The app.
        name: String,
    },
    /// bench succeeded, but built no assets.
    #[error(
        "failed to build the assets: bench exited with status 0, but created no sites/assets/assets.json"
    )]
    #[diagnostic(help("the end of `bench build`'s log shows the cause"))]
    NoAssets,
    /// The bench could not be normalized between two steps.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Normalize(#[from] NormalizeError),
}
