//! The upload of one blob to one repository, in this order: `session` (the requests of an upload
//! session), `blob` (the requests that find and mount a blob), `journal` (open sessions, stored for
//! the next run), `progress`, `job` (a blob and where it goes), `source` (the bytes of a blob in
//! chunks), `monolithic` (the blob in one request), `chunked` (the blob in several), and `strategy`,
//! which chooses between all of these.

mod blob;
mod chunked;
mod job;
mod journal;
mod monolithic;
mod progress;
mod session;
mod source;
mod strategy;

pub(crate) use self::blob::{Mount, mount};
pub(crate) use self::job::{OpenBlob, Upload};
pub(crate) use self::journal::Journal;
pub(crate) use self::session::{Session, SessionError};
