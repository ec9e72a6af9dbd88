//! Makes two builds of one lock the same tree.
//!
//! A build leaves traces of when and where it ran. Each [`Rule`] settles one kind of them, after
//! the build, when no process is left; [`RULES`] is the list. A rule that meets something it does
//! not know fails and names the file: guessing would hide a difference until somebody compares
//! digests.

mod bench_tree;
mod css_bundles;
mod git_metadata;
mod logs;
mod node_gyp;
mod python_caches;
mod site_files;
mod source_map;
mod uv_metadata;

pub use bench_tree::BenchTree;

use std::io;

/// One kind of difference between two builds, and what settles it.
pub struct Rule {
    /// For reports and errors.
    pub name: &'static str,
    /// What differs without it, and why.
    pub reason: &'static str,
    /// Settles it; the number of files and directories that were changed, renamed or removed.
    apply: fn(&BenchTree) -> Result<usize, NormalizeError>,
}

/// All rules, in the order in which they are applied. Changing what one of them writes is a
/// format break.
pub const RULES: &[Rule] = &[
    git_metadata::RULE,
    logs::RULE,
    python_caches::RULE,
    uv_metadata::RULE,
    node_gyp::RULE,
    css_bundles::RULE,
    site_files::RULE,
];

/// What a rule did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// [`Rule::name`].
    pub rule: &'static str,
    /// How many files and directories it changed, renamed or removed.
    pub changed: usize,
}

/// Why a tree could not be made canonical.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum NormalizeError {
    /// A file operation failed.
    #[error("failed to {verb} `{path}` in the bench")]
    #[diagnostic(help("an app's build script may have taken the permissions away"))]
    Io {
        /// What was tried.
        verb: &'static str,
        /// Below the bench's directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A rule met what it does not know.
    #[error("failed to settle `{path}` in the bench: {reason}")]
    #[diagnostic(help(
        "an image with it would differ from build to build; find which app's build makes the file, or report it with the app's name and version"
    ))]
    Unknown {
        /// Below the bench's directory.
        path: String,
        /// What was expected, or what is there instead.
        reason: String,
    },
}

/// Applies all [`RULES`]. Applying them again changes nothing.
///
/// Nothing outside the tree is read or written, whatever links a build left in it.
pub fn apply(tree: &BenchTree) -> Result<Vec<Applied>, NormalizeError> {
    let apply = |rule: &Rule| Ok(Applied { rule: rule.name, changed: (rule.apply)(tree)? });
    RULES.iter().map(apply).collect()
}

/// Writes sites/apps.txt in the lock's order, as [`apply`] does in the end: `bench build` reads
/// it, and the order decides whose node_modules are searched first.
pub fn order_apps(tree: &BenchTree) -> Result<(), NormalizeError> {
    site_files::write_apps_txt(tree)
}
