//! What every stage may use.

use std::sync::Arc;

use carafe_builder::cache::Cache;
use carafe_builder::git::Store;
use carafe_builder::progress::Progress;
use carafe_builder::sandbox::{CancelToken, Isolation};
use carafe_layers::oci::Platform;

use crate::bundle::Bundle;
use crate::registry::Registry;

/// What every stage may use.
pub struct Context {
    /// The store of this user.
    pub cache: Cache,
    /// The commits in it.
    pub commits: Store,
    /// The way to registries.
    pub registry: Registry,
    /// Who is told of progress.
    pub progress: Progress,
    /// How bench is kept apart from this machine.
    pub isolation: Isolation,
    /// What ends a running build.
    pub cancel: CancelToken,
    /// Whether bench's clients may use what earlier builds downloaded, and leave theirs for later
    /// ones. A build that checks another one must not.
    pub warm_clients: bool,
    /// Where images of the lock are read from before they are looked for under their names.
    pub bundle: Option<Arc<Bundle>>,
    /// Nothing is asked outside of this machine.
    pub offline: bool,
    /// What the image is for.
    pub platform: Platform,
}

#[cfg(test)]
impl Context {
    /// For tests: with a cache in this directory, and without anybody to ask.
    pub fn at(directory: &std::path::Path) -> Self {
        let cache = Cache::at(directory).unwrap();
        Self {
            commits: Store::new(&cache).unwrap(),
            cache,
            registry: Registry::new(Default::default()).unwrap(),
            progress: Progress::silent(),
            isolation: Isolation::Namespaces,
            cancel: CancelToken::default(),
            warm_clients: true,
            bundle: None,
            offline: true,
            platform: Platform::host(),
        }
    }
}
