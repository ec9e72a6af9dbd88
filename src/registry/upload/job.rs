//! A blob that is to be uploaded.

use std::io::Read;

use carafe_builder::progress::Meter;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;

use super::blob;
use super::journal::Journal;
use crate::registry::error::{Access, RegistryError, RequestContext};
use crate::registry::executor::Executor;
use crate::registry::reference::Repository;

/// Opens a blob. It is called only if the bytes have to be sent.
pub(crate) type OpenBlob<'a> = dyn Fn() -> Result<Box<dyn Read + Send>, SourceError> + Sync + 'a;

/// The upload of one blob to one repository.
pub(crate) struct Upload<'a> {
    pub(crate) executor: &'a Executor,
    /// Where open sessions are stored, if anywhere.
    pub(crate) journal: Option<&'a Journal>,
    pub(crate) repository: &'a Repository,
    pub(crate) access: &'a Access,
    pub(crate) descriptor: &'a Descriptor,
    /// Repositories of the same registry that are known to have the blob.
    pub(crate) mount_candidates: &'a [Repository],
    pub(crate) open: &'a OpenBlob<'a>,
    pub(crate) meter: &'a Meter,
}

impl Upload<'_> {
    /// Whether the repository has the blob.
    pub(super) fn exists(&self, context: &RequestContext<'_>) -> Result<bool, RegistryError> {
        self.executor.with_retries(context, || {
            self.executor.block_on(blob::exists(&self.executor.client, context, self.descriptor))
        })
    }
}
