//! The endpoints of an image: its mirrors are tried in order until one of them has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{Access, RegistryError, RequestContext};
use super::executor::Executor;
use super::reference::{Reference, Repository};

/// The endpoints of one image. One that has failed, for whatever reason, is not used again for this
/// image: neither by this value nor by its clones.
#[derive(Clone)]
pub(crate) struct Endpoints {
    /// The mirrors, then the location of the image.
    repositories: Arc<Vec<Repository>>,
    /// The index of the first one that has not failed.
    first: Arc<AtomicUsize>,
}

impl Endpoints {
    pub(crate) fn new(executor: &Executor, reference: &Reference) -> Result<Self, RegistryError> {
        let repositories = Arc::new(executor.client.mirrors().sources(reference)?);
        Ok(Self { repositories, first: Arc::default() })
    }

    /// The index of the endpoint to use now.
    pub(crate) fn first(&self) -> usize {
        self.first.load(Ordering::Relaxed)
    }

    /// The context of a request to the endpoint `index`.
    pub(crate) fn context<'a>(&'a self, index: usize, action: &'a str) -> RequestContext<'a> {
        let context = RequestContext::new(action, &self.repositories[index], &Access::Pull);
        if index + 1 < self.repositories.len() { context.at_mirror() } else { context }
    }

    /// The index of the endpoint after `index`, which has failed, with a warning. Returns the error if
    /// there is none.
    pub(crate) fn next(
        &self,
        executor: &Executor,
        index: usize,
        error: RegistryError,
    ) -> Result<usize, RegistryError> {
        let next = index + 1;
        let Some(repository) = self.repositories.get(next) else { return Err(error) };
        if self.first.fetch_max(next, Ordering::Relaxed) < next {
            executor.warn(format!("{error}; continuing with `{repository}`"));
        }
        Ok(next)
    }

    /// Sends `request` to one endpoint after the other until it succeeds.
    pub(crate) fn try_each<T>(
        &self,
        executor: &Executor,
        action: &str,
        mut request: impl FnMut(&RequestContext<'_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut index = self.first();
        loop {
            let context = self.context(index, action);
            match executor.with_retries(&context, || request(&context)) {
                Ok(result) => return Ok(result),
                Err(error) => index = self.next(executor, index, error)?,
            }
        }
    }
}
