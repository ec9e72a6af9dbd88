//! Network vocabulary: public URLs, credentials, mirrors, proxies, TLS, retries, and the names of
//! Docker Hub and of Python packages.
//!
//! Nothing here connects to anything. The git client, the egress proxy and the registry client use
//! these types. Files import in this order: `docker_hub`, `pep503`, `retry`, `tls`, `credential`,
//! `proxies`, `public_url`, `mirror`.

pub mod docker_hub;
pub mod pep503;
pub mod retry;
pub mod tls;

mod credential;
mod mirror;
mod proxies;
mod public_url;

pub use credential::Credential;
pub use mirror::{InvalidMirror, Mirror};
pub use proxies::Proxies;
pub use public_url::{InvalidUrl, PublicUrl};
