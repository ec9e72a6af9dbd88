//! The registry client. Its operations are in `pull`, `push` and `doctor`.

use std::sync::Arc;

use carafe_layers::oci::Descriptor;

use super::endpoints::Endpoints;
use super::error::RegistryError;
use super::executor::Executor;
use super::manifest;
use super::options::RegistryOptions;
use super::reference::Reference;
use super::upload::Journal;

/// A client for all registries. Cheap to clone. Its functions block, and must not be called from async
/// code.
#[derive(Clone)]
pub struct Registry {
    pub(super) executor: Arc<Executor>,
    pub(super) journal: Option<Arc<Journal>>,
}

impl Registry {
    /// Creates the client, and connects to nothing. Fails on a processor that the TLS library does not
    /// support. The CA certificates are read at the first request to a registry: the system's (or
    /// those of `SSL_CERT_FILE` or `SSL_CERT_DIR`) and the registry's own.
    pub fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        let journal = options.uploads.as_ref().map(|bucket| Arc::new(Journal::new(bucket)));
        Ok(Self { executor: Arc::new(Executor::new(options)?), journal })
    }

    /// The descriptor of the manifest or index that `reference` points at now, from the first of its
    /// endpoints that has it.
    pub fn resolve(&self, reference: &Reference) -> Result<Descriptor, RegistryError> {
        let action = format!("resolve {reference}");
        let (executor, name) = (&self.executor, reference.manifest_name());
        Endpoints::new(executor, reference)?.try_each(executor, &action, |context| {
            let found = executor.block_on(manifest::find(&executor.client, context, &name))?;
            found.ok_or_else(|| context.not_found("no manifest of this name"))
        })
    }
}
