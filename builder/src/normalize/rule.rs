//! The form of a normalization rule.

use super::bench_tree::BenchTree;
use super::error::NormalizeError;

/// Removes one kind of difference between two builds.
pub struct Rule {
    /// For reports and errors.
    pub name: &'static str,
    /// The difference without this rule, and its cause.
    pub reason: &'static str,
    /// Removes the difference. Returns the number of changed, renamed and removed files and directories.
    pub(super) apply: fn(&BenchTree) -> Result<usize, NormalizeError>,
}

/// The result of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// [`Rule::name`].
    pub rule: &'static str,
    /// The number of changed, renamed and removed files and directories.
    pub changed: usize,
}
