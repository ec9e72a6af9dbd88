//! Submodules: which directories of a commit are commits of other repositories.

use serde::{Deserialize, Serialize};

use super::remote::Remote;

/// A directory whose content is a commit of another repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Submodule {
    /// The path of the directory.
    pub path: String,
    /// The URL of the other repository without credentials, if `.gitmodules` has one.
    pub url: Option<String>,
}

/// The submodules whose directories may stay empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmptySubmodules {
    /// Those at these paths.
    Named(Vec<String>),
    /// All of them: the commit was accepted before, such as by the lock in an image's label.
    All,
}

impl EmptySubmodules {
    /// The paths that are listed.
    pub fn named(&self) -> &[String] {
        match self {
            Self::Named(paths) => paths,
            Self::All => &[],
        }
    }

    pub(super) fn allows(&self, submodule: &Submodule) -> bool {
        *self == Self::All || self.named().contains(&submodule.path)
    }
}

/// The URL in the text of `.gitmodules` for the submodule at `path`, without credentials.
pub(super) fn url_in_gitmodules(text: &str, path: &str) -> Option<String> {
    let value = |line: &str, key: &str| {
        let (found, value) = line.split_once('=')?;
        (found.trim() == key).then(|| value.trim().to_owned())
    };
    let section = text
        .split('[')
        .find(|section| section.lines().any(|line| value(line, "path").as_deref() == Some(path)))?;
    let url = section.lines().find_map(|line| value(line, "url"))?;
    Some(Remote::parse(&url).map_or_else(|_| "an unsupported URL".to_owned(), |url| url.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_url_of_a_path_without_its_credential() {
        let text = "[submodule \"a\"]\n\tpath = a\n\turl = https://robot:t0ken@host/a.git\n\
                    [submodule \"b\"]\n\tpath = lib/b\n\turl = ../b.git\n";
        assert_eq!(url_in_gitmodules(text, "a").as_deref(), Some("https://host/a.git"));
        assert_eq!(url_in_gitmodules(text, "lib/b").as_deref(), Some("an unsupported URL"));
        assert_eq!(url_in_gitmodules(text, "lib"), None);
    }
}
