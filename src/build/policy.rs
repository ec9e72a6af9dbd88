//! What a build may use of this machine and of the network.

use carafe_builder::sandbox::Isolation;

use crate::bundle::Bundle;

/// What a build may use of this machine and of the network.
#[derive(Clone, Copy)]
pub struct BuildPolicy<'a> {
    /// How bench is isolated from this machine.
    pub isolation: Isolation,
    /// No registry, git server or package host is contacted: everything must be recorded and cached.
    pub offline: bool,
    /// Whether bench's package managers may use what earlier builds downloaded, and leave their
    /// downloads for later builds. A build that verifies an image must not.
    pub reuse_downloads: bool,
    /// Images of the lock are read from this bundle; only those that it does not have are opened by
    /// their names.
    pub bundle: Option<&'a Bundle>,
}

impl Default for BuildPolicy<'_> {
    fn default() -> Self {
        Self { isolation: Isolation::Namespaces, offline: false, reuse_downloads: true, bundle: None }
    }
}
