//! What goes wrong: what is being tried (`attempt`) with which rights (`access`), what a registry's
//! no means (`refusal`), its words made fit to be shown (`scrub`), and the error that all of it
//! becomes (`error`).

mod access;
mod error_response;
mod registry_error;
mod request_context;
mod scrub;

pub(super) use self::access::Access;
pub use self::error_response::Rule;
pub use self::registry_error::RegistryError;
pub(super) use self::request_context::{Principal, RequestContext};
pub(super) use self::scrub::scrub;
