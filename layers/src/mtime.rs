//! Modification times: decided by rules, never read from disk or taken from the clock.

use crate::format::FIXED_MTIME;
use crate::path::ImagePath;
use crate::pattern::{Rule, decide};

/// Which mtime an entry gets, in seconds since 1970.
///
/// Browsers and nginx tell releases apart by the mtimes of an app's files, so these carry its
/// commit time; third-party files and folders must not move, or their layers are never reused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MtimePolicy {
    /// For files and links that no rule matches.
    pub default: i64,
    /// For all others; see [`decide`] for which rule counts.
    pub rules: Vec<Rule<i64>>,
}

impl MtimePolicy {
    /// The mtime of a file or symbolic link at `path`. Folders always have [`FIXED_MTIME`].
    pub fn of_file(&self, path: &ImagePath) -> i64 {
        decide(&self.rules, path).copied().unwrap_or(self.default)
    }

    /// The mtime of every folder.
    pub const fn of_directory(&self) -> i64 {
        FIXED_MTIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    #[test]
    fn third_party_folders_inside_an_app_keep_the_fixed_time() {
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
