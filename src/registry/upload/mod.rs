//! One blob to one repository. `deliver` finds the cheapest way; `blob` asks whether it is there or
//! mount_candidates, `send` goes through the requests of a `session` in `chunks` and notes in the `journal`
//! where the next run can go on, `whole` sends it in one request.

mod blob;
mod chunks;
mod journal;
mod monolithic;
mod send;
mod session;
mod strategy;

use std::cell::Cell;
use std::io::Read;

use carafe_builder::progress::Meter;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;

use super::error::{Access, RegistryError, RequestContext};
use super::reference::Repository;
use super::shared::Shared;

pub(super) use self::blob::Mount;
pub(super) use self::journal::Journal;
pub(super) use self::session::{Session, SessionError};

/// Opens a blob's bytes; called only if they are to be sent.
pub(super) type OpenBlob<'a> = dyn Fn() -> Result<Box<dyn Read + Send>, SourceError> + Sync + 'a;

/// A blob on its way.
pub(super) struct Upload<'a> {
    pub(super) shared: &'a Shared,
    /// Where open uploads are noted, if anywhere.
    pub(super) journal: Option<&'a Journal>,
    pub(super) repository: &'a Repository,
    pub(super) access: &'a Access,
    pub(super) descriptor: &'a Descriptor,
    /// Repositories of the same registry that are known to have it.
    pub(super) mount_candidates: &'a [Repository],
    pub(super) open: &'a OpenBlob<'a>,
    pub(super) meter: &'a Meter,
}

impl Upload<'_> {
    fn exists(&self, attempt: &RequestContext<'_>) -> Result<bool, RegistryError> {
        self.shared.block_on(self.shared.client.has_blob(attempt, self.descriptor))
    }
}

/// How much of a blob a progress bar was told of. It never goes back.
struct UploadProgress<'a> {
    meter: &'a Meter,
    reached: Cell<u64>,
}

impl<'a> UploadProgress<'a> {
    fn new(meter: &'a Meter) -> Self {
        Self { meter, reached: Cell::new(0) }
    }

    fn reach(&self, offset: u64) {
        let reached = self.reached.replace(self.reached.get().max(offset));
        if offset > reached {
            self.meter.advance(offset - reached);
        }
    }

    /// All that was told of is to be done once more.
    fn undo(&self) {
        self.meter.extend(self.reached.take());
    }
}
