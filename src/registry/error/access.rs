//! The rights that a request needs, which a refusal is about.

use std::collections::BTreeSet;

/// The rights that a request needs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::registry) enum Access {
    /// To read.
    Pull,
    /// To read and write, and to mount from these repositories of the same registry.
    Push {
        /// Their names.
        mount_from: BTreeSet<String>,
    },
}

impl Access {
    pub(in crate::registry) fn push(mount_from: impl IntoIterator<Item = String>) -> Self {
        Self::Push { mount_from: mount_from.into_iter().collect() }
    }

    /// In the form of the token specification.
    pub(in crate::registry) fn scopes(&self, repository: &str) -> Vec<String> {
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
    fn a_mount_needs_a_scope_of_its_own() {
        let access = Access::push(["base/debian".to_owned()]);
        assert_eq!(access.scopes("erp"), ["repository:erp:pull,push", "repository:base/debian:pull"]);
    }
}
