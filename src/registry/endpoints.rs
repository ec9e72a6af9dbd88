//! From which of its mirrors an image is read: one after the other, until one of them has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{Access, RegistryError, RequestContext};
use super::reference::{Reference, Repository};
use super::shared::Shared;

/// The mirrors of one image. A mirror that has failed, in whatever way, is not asked again for
/// this image: neither by this value nor by its clones.
#[derive(Clone)]
pub(super) struct Endpoints {
    /// Mirrors, then where the image is.
    mirrors: Arc<Vec<Repository>>,
    /// The ones before have failed.
    first: Arc<AtomicUsize>,
}

impl Endpoints {
    pub(super) fn new(shared: &Shared, reference: &Reference) -> Result<Self, RegistryError> {
        let mirrors = Arc::new(shared.mirrors.sources(reference)?);
        Ok(Self { mirrors, first: Arc::default() })
    }

    /// The place to ask now.
    pub(super) fn first(&self) -> usize {
        self.first.load(Ordering::Relaxed)
    }

    /// What is tried, at a place.
    pub(super) fn attempt<'a>(&'a self, place: usize, action: &'a str) -> RequestContext<'a> {
        let attempt = RequestContext::new(action, &self.mirrors[place], &Access::Pull);
        if place + 1 < self.mirrors.len() { attempt.at_mirror() } else { attempt }
    }

    /// The place after one that has failed, with a warning; the error where there is none.
    pub(super) fn after(
        &self,
        shared: &Shared,
        place: usize,
        error: RegistryError,
    ) -> Result<usize, RegistryError> {
        let next = place + 1;
        let Some(repository) = self.mirrors.get(next) else { return Err(error) };
        if self.first.fetch_max(next, Ordering::Relaxed) < next {
            shared.retry_policy.warn(format!("{error}; going on with `{repository}`"));
        }
        Ok(next)
    }

    /// `ask`, at one place after the other until it succeeds.
    pub(super) fn walk<T>(
        &self,
        shared: &Shared,
        action: &str,
        mut ask: impl FnMut(&RequestContext<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut place = self.first();
        loop {
            let attempt = self.attempt(place, action);
            match shared.persist(&attempt, || ask(&attempt)) {
                Ok(done) => return Ok(done),
                Err(error) => place = self.after(shared, place, error)?,
            }
        }
    }
}
