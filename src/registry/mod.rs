//! The registry client: pulls images, pushes images.
//!
//! [`Registry`] is the client. [`Registry::source`] reads an image as any other
//! [`carafe_layers::source::ImageSource`], [`Registry::push`] writes one, [`Registry::run_checks`]
//! diagnoses a registry. The functions block and may be called from many threads; inside there is
//! one asynchronous runtime. `docs/registry.md` describes what is supported.
//!
//! The modules, in the order of their dependencies. Each may use only the ones before it:
//!
//! 1. Values: `reference` (names), `report` (the result of a push), `error` (the error, and the
//!    [`RequestContext`](error::RequestContext) that makes one).
//! 2. Configuration: `mirrors`, `auth` (credentials and authentication methods), `tls` (certificates),
//!    `options` (all of these).
//! 3. Requests: `http` (one authorized request), `executor` (requests with retries, from blocking
//!    code), `endpoints` (one request to several mirrors).
//! 4. Kinds of requests: `manifest`, `referrers`, `upload` (one blob).
//! 5. Operations: `client` ([`Registry`]), `mount_candidates`, `repository_client` (one repository),
//!    `upload_queue` (background uploads), `push`, `pull`, `doctor`.

mod auth;
mod client;
mod doctor;
mod endpoints;
mod error;
mod executor;
mod http;
mod manifest;
mod mirrors;
mod mount_candidates;
mod options;
mod pull;
mod push;
mod reference;
mod referrers;
mod report;
mod repository_client;
mod tls;
mod upload;
mod upload_queue;

pub use self::auth::CredentialFiles;
pub use self::client::Registry;
pub use self::doctor::DoctorTarget;
pub use self::error::{Policy, RegistryError};
pub use self::mirrors::Mirrors;
pub use self::mount_candidates::MountCandidates;
pub use self::options::{RegistryOptions, RetryOptions};
pub use self::pull::RegistrySource;
pub use self::push::PendingPush;
pub use self::reference::{ParseReferenceError, Reference, Repository};
pub use self::report::{BlobReport, Delivery, PushReport};
pub use self::tls::{CertificateDirectories, TlsFiles};
pub use self::upload_queue::MAX_PARALLEL_UPLOADS;
