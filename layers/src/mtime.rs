//! Modification times: they come from rules, never from the disk or a clock.

use crate::format::FIXED_MTIME;
use crate::path::ImagePath;
use crate::pattern::{Rule, decide};

/// The mtime of each entry, in seconds since 1970.
///
/// Browsers and nginx use the mtimes of an app's files to detect a new release, so these files have
/// the app's commit time. The mtimes of third-party files and of directories must not change between
/// releases, because a changed mtime changes the layer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MtimePolicy {
    /// For files and links that no rule matches.
    pub default: i64,
    /// For all others; [`decide`] defines which rule applies.
    pub rules: Vec<Rule<i64>>,
}

impl MtimePolicy {
    /// The mtime of a file or symbolic link at `path`. Directories always have [`FIXED_MTIME`].
    pub fn of_file(&self, path: &ImagePath) -> i64 {
        decide(&self.rules, path).copied().unwrap_or(self.default)
    }

    /// The mtime of every directory.
    pub const fn of_directory(&self) -> i64 {
        FIXED_MTIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    #[test]
    fn third_party_directories_inside_an_app_keep_the_fixed_mtime() {
        let path = |text: &str| ImagePath::new(text).unwrap();
        let policy = MtimePolicy {
            default: 7,
            rules: vec![
                Rule::new(Pattern::under(path("apps/x")), 1_700_000_000),
                Rule::new(Pattern::under(path("apps")).containing("node_modules"), FIXED_MTIME),
            ],
        };
        assert_eq!(policy.of_file(&path("apps/x/hooks.py")), 1_700_000_000);
        assert_eq!(policy.of_file(&path("apps/x/node_modules/a.js")), FIXED_MTIME);
        assert_eq!(policy.of_file(&path("sites/apps.txt")), 7);
    }
}
