//! What every stage needs: the cache, the registries, progress and cancellation.

use carafe_builder::cache::Cache;
use carafe_builder::git::Store;
use carafe_builder::progress::Progress;
use carafe_builder::sandbox::CancelToken;

use crate::registry::Registry;

/// What every stage needs. What only some stages need is an argument of these.
pub struct Context {
    /// The user's cache.
    pub cache: Cache,
    /// The commits in the cache.
    pub commits: Store,
    /// The client for all registries.
    pub registry: Registry,
    /// Receives tasks and warnings.
    pub progress: Progress,
    /// Cancelled by Ctrl-C and by signals.
    pub cancel: CancelToken,
}

#[cfg(test)]
impl Context {
    /// For tests: with a cache in `directory`, without progress.
    pub fn at(directory: &std::path::Path) -> Self {
        let cache = Cache::at(directory).unwrap();
        Self {
            commits: Store::new(&cache).unwrap(),
            cache,
            registry: Registry::new(Default::default()).unwrap(),
            progress: Progress::silent(),
            cancel: CancelToken::default(),
        }
    }
}
