//! The backend of gix: repositories over http and https, in this process.
//!
//! Order of the files; each imports only from those before it: `server_messages`,
//! `bounded_client`, `fetch_progress`, `connection`, `session`, `backend`.

mod backend;
mod bounded_client;
mod connection;
mod fetch_progress;
mod server_messages;
mod session;

pub use self::backend::GixBackend;
