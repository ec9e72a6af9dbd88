//! Network vocabulary: public URLs, credentials, mirrors, proxies, TLS, and when to retry.
//!
//! Nothing here connects to anything. The git client, the egress proxy and the registry client use
//! these types.

pub mod docker_hub;
pub mod pep503;
pub mod retry;
pub mod tls;

mod credential;
mod mirror;
mod proxies;
mod public_url;

pub use credential::Credential;
pub use mirror::{BadMirror, Mirror};
pub use proxies::Proxies;
pub use public_url::{BadUrl, PublicUrl};
