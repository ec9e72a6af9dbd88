//! Registries: pull a base, push an image.
//!
//! [`Registry`] is the client. [`RegistrySource`] reads an image as any other
//! [`carafe_layers::source::ImageSource`]; [`Registry::push`] writes one. Outside everything is
//! blocking and may be called from many threads at once; inside is one runtime.
//!
//! Here is what one does with a registry: `pull` (`route`: from which mirror), `push` (`ahead`: blobs
//! before their image is known; `destination`: what one repository is brought; `report`: what it
//! did), `manifest`, `referrers`, `doctor`, which tries all of it; and what all of them go by:
//! `reference` the names, `known` where blobs are, `options` what is set, `shared` what is held,
//! `retry_policy` and `retry` what is waited out. The directories are rooms, each of which knows those before
//! it and none after it: `failure` what went wrong, `mirrors` where an image really is, `identity` who
//! is who, `wire` one request, `upload` one blob. `docs/registry.md` says what is supported.

mod auth;
mod checks;
mod endpoints;
mod error;
mod http;
mod manifest;
mod mirrors;
mod mount_candidates;
mod options;
mod pull;
mod push;
mod push_report;
mod reference;
mod referrers;
mod repository_client;
mod retry;
mod shared;
mod timeouts;
mod tls;
mod upload;
mod upload_queue;

use std::sync::Arc;

use carafe_layers::oci::Descriptor;

use self::endpoints::Endpoints;
use self::shared::Shared;
use self::upload::Journal;

pub use self::auth::{Credential, CredentialFiles};
pub use self::checks::DoctorTarget;
pub use self::error::{RegistryError, Rule};
pub use self::mirrors::Mirrors;
pub use self::mount_candidates::MountCandidates;
pub use self::options::RegistryOptions;
pub use self::pull::RegistrySource;
pub use self::push::{MAX_PARALLEL_UPLOADS, PendingPush};
pub use self::push_report::{BlobReport, Delivery, PushReport};
pub use self::reference::{ParseReferenceError, Reference, Repository};
pub use self::timeouts::{Clock, RetryPolicy};
pub use self::tls::{CertificateDirectories, TlsFiles, missing_processor_features};
pub use carafe_builder::net::retry::RetryAfter;

/// A client for all registries; cheap to clone. Its calls block, and must not be made from async
/// code.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
    journal: Option<Arc<Journal>>,
}

impl Registry {
    /// Makes the client; connects to nothing. Fails on a machine whose processor does not serve for
    /// TLS. Whom a registry has to be is looked up when it is first spoken to: the system's CAs
    /// (or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name) and the registry's own.
    pub fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        let journal = options.uploads.as_ref().map(|bucket| Arc::new(Journal::new(bucket)));
        Ok(Self { shared: Arc::new(Shared::new(options)?), journal })
    }

    /// The image named `reference`, to be read from its mirrors or from where it is. Asks nothing
    /// yet.
    pub fn source(&self, reference: &Reference) -> RegistrySource {
        RegistrySource::new(Arc::clone(&self.shared), reference.clone())
    }

    /// What `reference` points at now, in the first of its mirrors that has it: the descriptor of
    /// its manifest or index.
    pub fn resolve(&self, reference: &Reference) -> Result<Descriptor, RegistryError> {
        let action = format!("resolve {reference}");
        let shared = &self.shared;
        Endpoints::new(shared, reference)?.walk(shared, &action, |attempt| {
            let found = shared.block_on(shared.client.find_manifest(attempt, &reference.asked()))?;
            found.ok_or_else(|| attempt.not_found("no manifest of that name"))
        })
    }
}
