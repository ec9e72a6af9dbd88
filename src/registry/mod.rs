//! Registries: pull a base, push an image.
//!
//! [`Registry`] is the client. [`RegistrySource`] reads an image as any other
//! [`carafe_layers::source::ImageSource`]; [`Registry::push`] writes one. Outside everything is
//! blocking and may be called from many threads at once; inside is one runtime. One concern, one
//! module: `client` what all requests share, `transport` the HTTP clients, `tls` their cryptography,
//! `trust` CAs and client certificates, `credentials` (`auth_file`, `helper`) who we are, `auth`
//! and `token` what a request is signed with; `places` (`registries_conf`) where an image really
//! is, `route` from which of its mirrors it is read; `blob` whether it is there, `manifest`,
//! `referrers`, `pull`, `upload` one blob (`send`, `session`, `chunks`, `whole`, `journal`), `push`
//! the order; `failure` (`refusal`, `scrub`) what the wire's failures mean, `retry` which of them are waited
//! out; `doctor` tries all of it. `docs/registry.md` says what is supported.

#[path = "wire/auth.rs"]
mod auth;
#[path = "identity/auth_file.rs"]
mod auth_file;
#[path = "upload/blob.rs"]
mod blob;
#[path = "upload/chunks.rs"]
mod chunks;
#[path = "wire/client.rs"]
mod client;
#[path = "identity/mod.rs"]
mod credentials;
mod doctor;
#[path = "failure/error.rs"]
mod error;
#[path = "failure/attempt.rs"]
mod failure;
#[path = "identity/helper.rs"]
mod helper;
#[path = "upload/journal.rs"]
mod journal;
mod manifest;
#[path = "places/mod.rs"]
mod places;
mod pull;
mod push;
mod reference;
mod referrers;
#[path = "failure/refusal.rs"]
mod refusal;
#[path = "places/registries_conf.rs"]
mod registries_conf;
mod retry;
mod route;
#[path = "failure/scrub.rs"]
mod scrub;
#[path = "upload/send.rs"]
mod send;
#[path = "upload/session.rs"]
mod session;
#[path = "wire/tls.rs"]
mod tls;
#[path = "wire/token.rs"]
mod token;
#[path = "wire/transport.rs"]
mod transport;
#[path = "identity/trust.rs"]
mod trust;
#[path = "upload/mod.rs"]
mod upload;
#[path = "upload/whole.rs"]
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carafe_builder::cache::Bucket;
use carafe_layers::oci::Descriptor;
use tokio::runtime::{Builder, Runtime};

use self::client::Client;
use self::journal::Journal;
use self::retry::Met;
use self::route::Route;

pub use self::credentials::{Credential, CredentialFiles};
pub use self::doctor::Patient;
pub use self::error::RegistryError;
pub use self::places::Places;
pub use self::pull::RegistrySource;
pub use self::push::{BlobReport, KnownBlobs, PushReport, UPLOADS_AT_ONCE};
pub use self::reference::{ParseReferenceError, Reference, Repository};
pub use self::refusal::Rule;
pub use self::retry::{Clock, Patience, RetryAfter};
pub use self::tls::missing_features as missing_processor_features;
pub use self::trust::{CertificateFolders, TlsFiles};
pub use self::upload::Delivery;

/// Threads that move bytes; hashing and reading happen on the callers' own.
const RUNTIME_THREADS: usize = 2;

/// How registries are spoken to.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// Hosts, with their port, that are spoken to over plain HTTP: `localhost:5000`.
    pub insecure: BTreeSet<String>,
    /// Credentials by host; they go before those in `files`, and to no other host.
    pub credentials: BTreeMap<String, Credential>,
    /// Where credentials are looked up for all other hosts.
    pub files: CredentialFiles,
    /// PEM files by host; they go before those in `certificates`.
    pub tls: BTreeMap<String, TlsFiles>,
    /// Where PEM files are looked up for all other hosts.
    pub certificates: CertificateFolders,
    /// Mirrors, other locations, and what is blocked.
    pub places: Places,
    /// What is tried again, and who is told.
    pub patience: Patience,
    /// Where open uploads are noted, so that the next run goes on inside a blob; without it, it
    /// does not.
    pub uploads: Option<Bucket>,
}

impl RegistryOptions {
    /// What this machine says: docker's and podman's files, and for the registries of
    /// `targets` `CARAFE_USERNAME` and `CARAFE_PASSWORD`. Those two are for where one pushes to;
    /// a base's registry never sees them. Fails where a `registries.conf` is broken, or blocks a
    /// target.
    pub fn from_environment<'a>(
        targets: impl IntoIterator<Item = &'a Repository>,
    ) -> Result<Self, RegistryError> {
        let places = Places::from_environment()?;
        let mut credentials = BTreeMap::new();
        for target in targets {
            let place = places.locate(target)?;
            credentials
                .extend(Credential::from_environment().map(|known| (place.registry().to_owned(), known)));
        }
        Ok(Self {
            places,
            credentials,
            files: CredentialFiles::from_environment(),
            certificates: CertificateFolders::from_environment(),
            ..Self::default()
        })
    }
}

/// A client for all registries; cheap to clone. Its calls block, and must not be made from async
/// code.
#[derive(Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

impl Registry {
    /// Makes the client; connects to nothing. Fails on a machine whose processor does not serve for
    /// TLS. Whom a registry has to be is looked up when it is first spoken to: the system's CAs
    /// (or those that `SSL_CERT_FILE` or `SSL_CERT_DIR` name) and the registry's own.
    pub fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        let (patience, places) = (options.patience.clone(), options.places.clone());
        let journal = options.uploads.as_ref().map(Journal::new);
        let client = Client::new(options)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(RUNTIME_THREADS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(RegistryError::Runtime)?;
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                journal,
                patience,
                places,
                met: Met::default(),
                runtime: Some(runtime),
            }),
        })
    }

    /// The image named `reference`, to be read from its mirrors or from where it is. Asks nothing
    /// yet.
    pub fn source(&self, reference: &Reference) -> RegistrySource {
        RegistrySource::new(self.clone(), reference.clone())
    }

    /// What `reference` points at now, in the first of its places that has it: the descriptor of
    /// its manifest or index.
    pub fn resolve(&self, reference: &Reference) -> Result<Descriptor, RegistryError> {
        let action = format!("resolve {reference}");
        let shared = &self.shared;
        Route::new(shared, reference)?.walk(shared, &action, |attempt| {
            let found = shared.block_on(shared.client.find_manifest(attempt, &reference.asked()))?;
            found.ok_or_else(|| attempt.not_found("no manifest of that name"))
        })
    }
}

/// What all clones of a [`Registry`] and all open readers hold.
struct Shared {
    client: Client,
    journal: Option<Journal>,
    patience: Patience,
    places: Places,
    met: Met,
    /// Taken only when dropped.
    runtime: Option<Runtime>,
}

impl Shared {
    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime is there until drop")
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime().block_on(future)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Not waited for: a connection may hang, and the last holder may be inside a task.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
