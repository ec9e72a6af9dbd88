//! Git, used by the lock and the fetch stages alone.
//!
//! A [`Remote`] is where a repository is. [`resolve`] turns a branch or tag into a commit,
//! [`contains`] says whether a commit belongs to it, and [`Store::fetch`] brings that one commit,
//! whole and checked, into the cache. [`Store::publish_as`] serves it to a stock git in the
//! sandbox under the name that bench asks for. Nothing else here goes to the network.

mod backend;
mod bare;
mod binary;
mod command;
mod credential;
mod credential_helper;
mod distance;
mod error;
mod fetch_response;
mod http;
mod id;
mod local;
mod pack;
mod publish;
mod refs;
mod remote;
mod store;
mod verify;

pub use backend::{GitBackend, backend_for, contains, resolve};
pub use binary::GitBinary;
pub use credential::Credential;
pub use distance::{Distance, distance};
pub use error::GitError;
pub use fetch_response::first_commit;
pub use http::InProcess;
pub use id::{CommitId, ParseIdError, TreeId};
pub(crate) use refs::check_name;
pub use refs::{RefKind, ResolvedRef};
pub use remote::{Remote, RemoteError, Transport};
pub use store::{Checkout, EmptySubmodules, Entry, Store};
pub use verify::Submodule;
