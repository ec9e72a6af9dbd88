//! The wire: what every request has in common (`client`) and what is read from every answer
//! (`answer`); the HTTP clients (`transport`) and their cryptography (`tls`); what a request is
//! signed with (`auth`, by `token`'s messages).

mod client;
pub(super) mod response;
pub(super) mod transport;

pub(super) use self::client::Client;
pub(super) use self::response::{header, refused};
