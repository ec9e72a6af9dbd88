//! Removes the differences between two builds of one lock.
//!
//! A built tree depends on when and where the build ran. Each [`Rule`] removes one kind of difference, after the
//! build, when no process of it is left; [`RULES`] lists them. A rule that finds a file in an unknown form fails
//! with its path: an attempt to guess would hide a difference until two digests are compared.
//!
//! Import order: `error` ← `bench_tree` ← `rule`, `source_map` ← the rules, of which `css_bundles` uses
//! `site_files`.

mod bench_tree;
mod css_bundles;
mod error;
mod git_metadata;
mod logs;
mod node_gyp;
mod python_caches;
mod rule;
mod site_files;
mod source_map;
mod uv_metadata;

pub use bench_tree::BenchTree;
pub use error::NormalizeError;
pub use rule::{Applied, Rule};

/// All rules, in the order in which they are applied. A change of what a rule writes changes image bytes.
pub const RULES: &[Rule] = &[
    git_metadata::RULE,
    logs::RULE,
    python_caches::RULE,
    uv_metadata::RULE,
    node_gyp::RULE,
    css_bundles::RULE,
    site_files::RULE,
];

/// Applies all [`RULES`]. A second call changes nothing.
///
/// The tree is not trusted: no file outside of it is read or written, whatever links it contains.
pub fn apply(tree: &BenchTree) -> Result<Vec<Applied>, NormalizeError> {
    let apply = |rule: &Rule| Ok(Applied { rule: rule.name, changed: (rule.apply)(tree)? });
    RULES.iter().map(apply).collect()
}

/// Writes sites/apps.txt in the order of the lock, as [`apply`] does later. It must be called before `bench build`,
/// which reads the file: the order determines which app's node_modules directory has precedence.
pub fn order_apps(tree: &BenchTree) -> Result<(), NormalizeError> {
    site_files::write_apps_txt(tree)
}
