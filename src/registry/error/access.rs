//! The permission that a request needs.

use std::collections::BTreeSet;

/// The permission that a request needs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Access {
    /// Reading.
    Pull,
    /// Reading and writing, and mounting from these repositories of the same registry.
    Push {
        /// Their names.
        mount_from: BTreeSet<String>,
    },
}

impl Access {
    pub(crate) fn push(mount_from: impl IntoIterator<Item = String>) -> Self {
        Self::Push { mount_from: mount_from.into_iter().collect() }
    }

    /// The scopes of the token specification.
    pub(crate) fn scopes(&self, repository: &str) -> Vec<String> {
        match self {
            Self::Pull => vec![format!("repository:{repository}:pull")],
            Self::Push { mount_from } => std::iter::once(format!("repository:{repository}:pull,push"))
                .chain(mount_from.iter().map(|other| format!("repository:{other}:pull")))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_needs_its_own_scope() {
        let access = Access::push(["base/debian".to_owned()]);
        assert_eq!(access.scopes("erp"), ["repository:erp:pull,push", "repository:base/debian:pull"]);
    }
}
