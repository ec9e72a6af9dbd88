//! One blob to one repository: skipped where it is there, mounted where it is near, else sent.

use std::cell::Cell;
use std::io::Read;

use carafe_builder::progress::Task;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;

use super::blob::Mount;
use super::error::RegistryError;
use super::failure::Attempt;
use super::reference::Repository;
use super::send::{Sending, Sent};
use super::{Shared, auth::Access};

/// What had to be done for a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Its bytes were sent.
    Sent,
    /// The registry took it from another repository of its own.
    Mounted {
        /// From which.
        from: Repository,
    },
    /// It was there.
    Skipped,
}

/// Opens a blob's bytes; called only if they are to be sent.
pub(super) type OpenBlob<'a> = dyn Fn() -> Result<Box<dyn Read + Send>, SourceError> + Sync + 'a;

/// A blob on its way.
pub(super) struct Upload<'a> {
    pub(super) shared: &'a Shared,
    pub(super) repository: &'a Repository,
    pub(super) access: &'a Access,
    pub(super) descriptor: &'a Descriptor,
    /// Repositories of the same registry that are known to have it.
    pub(super) near: &'a [Repository],
    pub(super) open: &'a OpenBlob<'a>,
    pub(super) task: &'a Task,
}

impl Upload<'_> {
    /// Brings the blob there, in the cheapest way. Idempotent.
    pub(super) fn deliver(&self) -> Result<Delivery, RegistryError> {
        let action = format!("push {} to {}", self.descriptor.digest, self.repository);
        let attempt = Attempt::new(&action, self.repository, self.access).sized(self.descriptor.size);
        if self.shared.persist(&attempt, || self.exists(&attempt))? {
            return Ok(Delivery::Skipped);
        }
        let mut session = None;
        for from in self.near {
            match self.mount(&attempt, from)? {
                Some(Mount::Done) => return Ok(Delivery::Mounted { from: from.clone() }),
                Some(Mount::Send(opened)) => session = Some(opened),
                None => {}
            }
        }
        let shown = Shown::new(self.task);
        if matches!(Sending::new(self, &attempt, &shown, session).run()?, Sent::NoChunks) {
            self.shared.persist(&attempt, || self.send_whole(&attempt, &shown))?;
        }
        Ok(Delivery::Sent)
    }

    pub(super) fn exists(&self, attempt: &Attempt<'_>) -> Result<bool, RegistryError> {
        self.shared.block_on(self.shared.client.has_blob(attempt, self.descriptor))
    }

    /// None where the registry refuses (mostly we may not read the other repository) or answers
    /// something else: then the blob is sent.
    fn mount(&self, attempt: &Attempt<'_>, from: &Repository) -> Result<Option<Mount>, RegistryError> {
        let (shared, digest) = (self.shared, self.descriptor.digest);
        let ask = || shared.block_on(shared.client.mount_blob(attempt, digest, from));
        match shared.persist(attempt, ask) {
            Ok(mount) => Ok(Some(mount)),
            Err(error) if error.is_refusal() || matches!(error, RegistryError::Protocol { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How much of a blob a progress bar was told of. It never goes back.
pub(super) struct Shown<'a> {
    task: &'a Task,
    reached: Cell<u64>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(task: &'a Task) -> Self {
        Self { task, reached: Cell::new(0) }
    }

    pub(super) fn reach(&self, offset: u64) {
        let reached = self.reached.replace(self.reached.get().max(offset));
        if offset > reached {
            self.task.advance(offset - reached);
        }
    }
}
