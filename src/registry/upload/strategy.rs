//! Chooses how a blob gets into a repository: it is skipped if it is there, mounted if possible, else
//! sent.

use super::blob::{self, Mount};
use super::chunked::{ChunkedUpload, Outcome};
use super::job::Upload;
use super::progress::UploadProgress;
use super::session::Session;
use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::reference::Repository;
use crate::registry::report::Delivery;

impl Upload<'_> {
    /// Gets the blob into the repository with as few bytes as possible. Idempotent.
    pub(crate) fn run(&self) -> Result<Delivery, RegistryError> {
        let action = format!("push {} to {}", self.descriptor.digest, self.repository);
        let context =
            RequestContext::new(&action, self.repository, self.access).with_size(self.descriptor.size);
        if self.exists(&context)? {
            return Ok(Delivery::Skipped);
        }
        let mut session = None;
        for from in self.mount_candidates {
            match self.mount(&context, from)? {
                Some(Mount::Done) => return Ok(Delivery::Mounted { from: from.clone() }),
                Some(Mount::Declined(opened)) => session = Some(opened),
                None => {}
            }
        }
        let progress = UploadProgress::new(self.meter);
        self.send(&context, &progress, session).inspect_err(|_| progress.reset())?;
        Ok(Delivery::Sent)
    }

    fn send(
        &self,
        context: &RequestContext<'_>,
        progress: &UploadProgress<'_>,
        session: Option<Session>,
    ) -> Result<(), RegistryError> {
        match ChunkedUpload::new(self, context, progress, session).run()? {
            Outcome::Stored => Ok(()),
            Outcome::NoChunks => {
                self.executor.with_retries(context, || self.send_monolithic(context, progress))
            }
        }
    }

    /// `None` if the registry rejects the request (mostly because the account may not read the other
    /// repository) or violates the protocol: then the blob is sent.
    fn mount(&self, context: &RequestContext<'_>, from: &Repository) -> Result<Option<Mount>, RegistryError> {
        let (executor, digest) = (self.executor, self.descriptor.digest);
        let request = || executor.block_on(blob::mount(&executor.client, context, digest, from));
        match executor.with_retries(context, request) {
            Ok(mount) => Ok(Some(mount)),
            Err(error) if error.is_rejection() || matches!(error, RegistryError::Protocol { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
