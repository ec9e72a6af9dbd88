//! From which of its places an image is read: one after the other, until one of them has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::failure::{Access, Attempt, RegistryError};
use super::reference::{Reference, Repository};
use super::shared::Shared;

/// The places of one image. A mirror that has failed, in whatever way, is not asked again for
/// this image: neither by this value nor by its clones.
#[derive(Clone)]
pub(super) struct Route {
    /// Mirrors, then where the image is.
    places: Arc<Vec<Repository>>,
    /// The ones before have failed.
    first: Arc<AtomicUsize>,
}

impl Route {
    pub(super) fn new(shared: &Shared, reference: &Reference) -> Result<Self, RegistryError> {
        let places = Arc::new(shared.places.sources(reference)?);
        Ok(Self { places, first: Arc::default() })
    }

    /// The place to ask now.
    pub(super) fn first(&self) -> usize {
        self.first.load(Ordering::Relaxed)
    }

    /// What is tried, at a place.
    pub(super) fn attempt<'a>(&'a self, place: usize, action: &'a str) -> Attempt<'a> {
        let attempt = Attempt::new(action, &self.places[place], &Access::Pull);
        if place + 1 < self.places.len() { attempt.at_mirror() } else { attempt }
    }

    /// The place after one that has failed, with a warning; the error where there is none.
    pub(super) fn after(
        &self,
        shared: &Shared,
        place: usize,
        error: RegistryError,
    ) -> Result<usize, RegistryError> {
        let next = place + 1;
        let Some(repository) = self.places.get(next) else { return Err(error) };
        if self.first.fetch_max(next, Ordering::Relaxed) < next {
            shared.patience.warn(format!("{error}; going on with `{repository}`"));
        }
        Ok(next)
    }

    /// `ask`, at one place after the other until it succeeds.
    pub(super) fn walk<T>(
        &self,
        shared: &Shared,
        action: &str,
        mut ask: impl FnMut(&Attempt<'_>) -> Result<T, RegistryError>,
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
