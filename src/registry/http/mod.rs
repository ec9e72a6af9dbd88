//! Requests to registries, in this order: `transport` (the HTTP clients of each registry), `response`
//! (what is read from any response), `authenticator` (obtains authorizations), `client` (one
//! authorized request).

mod authenticator;
mod client;
mod response;
mod transport;

pub(crate) use self::client::Client;
pub(crate) use self::response::{header, rejection};
