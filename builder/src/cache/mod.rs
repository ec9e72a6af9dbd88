//! The cache: directories that are complete or do not exist.
//!
//! An entry is a directory. It is created under a temporary name, and renamed when it is complete. A
//! process that is killed leaves at most a temporary directory, which the next process removes. A
//! lock file for each entry makes parallel processes wait for each other instead of doing the work
//! twice; the kernel releases the lock when its holder dies.
//!
//! Order of the files; each imports only from those before it: `error`, `lock`, `scratch`,
//! `bucket`, `store`.

mod bucket;
mod error;
mod lock;
mod scratch;
mod store;

pub use self::bucket::{Bucket, Claim};
pub use self::error::CacheError;
pub use self::scratch::{Scratch, remove_tree};
pub use self::store::Cache;
