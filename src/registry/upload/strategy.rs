//! The cheapest way of a blob: skipped where it is there, mounted where it is mount_candidates, else sent.

use super::blob::Mount;
use super::send::{Sending, Sent};
use super::{Session, Upload, UploadProgress};
use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::push_report::Delivery;
use crate::registry::reference::Repository;

impl Upload<'_> {
    /// Brings the blob there, in the cheapest way. Idempotent.
    pub(in crate::registry) fn deliver(&self) -> Result<Delivery, RegistryError> {
        let action = format!("push {} to {}", self.descriptor.digest, self.repository);
        let attempt = RequestContext::new(&action, self.repository, self.access).sized(self.descriptor.size);
        if self.shared.persist(&attempt, || self.exists(&attempt))? {
            return Ok(Delivery::Skipped);
        }
        let mut session = None;
        for from in self.mount_candidates {
            match self.mount(&attempt, from)? {
                Some(Mount::Done) => return Ok(Delivery::Mounted { from: from.clone() }),
                Some(Mount::Send(opened)) => session = Some(opened),
                None => {}
            }
        }
        let shown = UploadProgress::new(self.meter);
        self.send(&attempt, &shown, session).inspect_err(|_| shown.undo())?;
        Ok(Delivery::Sent)
    }

    fn send(
        &self,
        attempt: &RequestContext<'_>,
        shown: &UploadProgress<'_>,
        session: Option<Session>,
    ) -> Result<(), RegistryError> {
        match Sending::new(self, attempt, shown, session).run()? {
            Sent::Stored => Ok(()),
            Sent::NoChunks => self.shared.persist(attempt, || self.send_whole(attempt, shown)),
        }
    }

    /// None where the registry refuses (mostly we may not read the other repository) or answers
    /// something else: then the blob is sent.
    fn mount(&self, attempt: &RequestContext<'_>, from: &Repository) -> Result<Option<Mount>, RegistryError> {
        let (shared, digest) = (self.shared, self.descriptor.digest);
        let ask = || shared.block_on(shared.client.mount_blob(attempt, digest, from));
        match shared.persist(attempt, ask) {
            Ok(mount) => Ok(Some(mount)),
            Err(error) if error.is_refusal() || matches!(error, RegistryError::Protocol { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
