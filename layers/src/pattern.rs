//! Rules that select paths: which layer a file belongs to, which mtime it gets.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::path::ImagePath;

/// Matches a path and everything below it. With a component, it matches only paths that have a
/// directory or file of exactly that name below the prefix (such as `node_modules` below `apps`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    prefix: ImagePath,
    component: Option<Vec<u8>>,
}

/// A value for the paths that a pattern matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule<T> {
    /// The paths.
    pub pattern: Pattern,
    /// Their value.
    pub then: T,
}

impl<T> Rule<T> {
    /// `then` is the value for the paths of `pattern`.
    pub fn new(pattern: Pattern, then: T) -> Self {
        Self { pattern, then }
    }
}

impl Pattern {
    /// Matches `prefix` and everything below it.
    pub fn under(prefix: ImagePath) -> Self {
        Self { prefix, component: None }
    }

    /// Matches only paths with `component` among the names below the prefix.
    pub fn containing(self, component: impl AsRef<OsStr>) -> Self {
        Self { component: Some(component.as_ref().as_bytes().to_vec()), ..self }
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: &ImagePath) -> bool {
        let Some(below) = path.below(&self.prefix) else { return false };
        self.component.as_ref().is_none_or(|wanted| {
            Path::new(OsStr::from_bytes(below)).iter().any(|name| name.as_bytes() == wanted)
        })
    }

    fn specificity(&self) -> (bool, usize) {
        (self.component.is_some(), self.prefix.as_bytes().len())
    }
}

/// The value of the most specific matching rule: a rule with a component precedes one without,
/// then the longer prefix decides, then the earlier position. So the order of the list decides
/// only between equal rules, and callers may give it another meaning.
pub fn decide<'a, T>(rules: &'a [Rule<T>], path: &ImagePath) -> Option<&'a T> {
    let matching = rules.iter().rev().filter(|rule| rule.pattern.matches(path));
    matching.max_by_key(|rule| rule.pattern.specificity()).map(|rule| &rule.then)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::new(text).unwrap()
    }

    #[test]
    fn the_most_specific_rule_decides() {
        let rules = [
            Rule::new(Pattern::under(path("apps")), "apps"),
            Rule::new(Pattern::under(path("apps")).containing("node_modules"), "modules"),
            Rule::new(Pattern::under(path("apps/hrms")), "hrms"),
            Rule::new(Pattern::under(path("apps/hrms")), "never"),
        ];
        let decided = |text: &str| decide(&rules, &path(text)).copied();
        assert_eq!(decided("apps/frappe/x.py"), Some("apps"));
        assert_eq!(decided("apps/hrms/x.py"), Some("hrms"));
        assert_eq!(decided("apps/hrms"), Some("hrms"));
        assert_eq!(decided("apps/hrmsx"), Some("apps"));
        assert_eq!(decided("apps/hrms/node_modules/a/b.js"), Some("modules"));
        assert_eq!(decided("apps/hrms/node_modules2/b.js"), Some("hrms"));
        assert_eq!(decided("env/node_modules/x"), None);
    }
}
