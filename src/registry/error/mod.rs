//! Errors of the registry client, in this order: `text` makes a server's text safe for messages,
//! [`Access`] is the permission that a request needs, `response` reads a registry's error document
//! and finds the [`Policy`] behind it, [`RegistryError`] is the error, and [`RequestContext`] makes
//! one from a failed request.

mod access;
mod context;
mod registry_error;
mod response;
mod text;

pub(crate) use self::access::Access;
pub(crate) use self::context::{Principal, RequestContext};
pub use self::registry_error::RegistryError;
pub use self::response::Policy;
pub(crate) use self::text::server_message;
