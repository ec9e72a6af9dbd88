//! The wire: what every request has in common (`client`) and what is read from every answer
//! (`answer`); the HTTP clients (`transport`) and their cryptography (`tls`); what a request is
//! signed with (`auth`, by `token`'s messages).

mod answer;
mod auth;
mod client;
mod tls;
mod token;
mod transport;

pub(super) use self::answer::{header, refused};
pub(super) use self::client::Client;
pub use self::tls::missing_features as missing_processor_features;
pub(super) use self::token::Authorization;
