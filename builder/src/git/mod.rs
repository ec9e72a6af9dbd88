//! git: repositories, commits, and the store of pinned commits in the cache.
//!
//! A [`Remote`] is the location of a repository. [`resolve`] turns a branch or tag into a commit,
//! [`contains`] reports whether a commit belongs to it, and [`Store::fetch`] fetches that one commit,
//! complete and verified, into the cache. [`Store::publish_as`] makes it a repository that git in
//! the sandbox clones under the name that bench requests. Nothing else here uses the network.
//!
//! Order of the files; each imports only from those before it:
//!
//! 1. Vocabulary: `limits`, `foreign_text`, `help`, `id`, `remote`, `submodule`,
//!    `error`, `similar_names`, `refs`.
//! 2. Repositories and packs: `bare`, `objects`, `verify`, `pack_format`, `fetch_response`.
//! 3. Remotes: `command_config`, `command`, `command_error`, `backend`, `git_binary`, `gix_http`,
//!    `credential_helper`, `resolve`, `distance`.
//! 4. The store: `store`, `publish`, `work_tree`, `tree_builder`, `local`, `pack`.

mod backend;
mod bare;
mod command;
mod command_config;
mod command_error;
mod credential_helper;
mod distance;
mod error;
mod fetch_response;
mod foreign_text;
mod git_binary;
mod gix_http;
mod help;
mod id;
mod limits;
mod local;
mod objects;
mod pack;
mod pack_format;
mod publish;
mod refs;
mod remote;
mod resolve;
mod similar_names;
mod store;
mod submodule;
mod tree_builder;
mod verify;
mod work_tree;

pub use backend::GitBackend;
pub use distance::{Distance, distance};
pub use error::GitError;
pub use fetch_response::first_commit;
pub use git_binary::GitBinary;
pub use gix_http::GixBackend;
pub use id::{CommitId, ParseIdError, TreeId};
pub(crate) use refs::check_ref_name;
pub use refs::{RefKind, ResolvedRef};
pub use remote::{Remote, RemoteError, Transport};
pub use resolve::{contains, resolve};
pub use store::{Checkout, Store, TreeEntry};
pub use submodule::{EmptySubmodules, Submodule};
