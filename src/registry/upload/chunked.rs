//! Sending one blob through an upload session, in chunks, and going on after a failure from where
//! the registry is: at most one chunk is sent twice.

use bytes::Bytes;

use super::chunks::Chunks;
use super::journal::Entry;
use super::session::{Session, SessionError};
use super::{Upload, UploadProgress};
use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::retry::RetryState;

/// A chunk's size, unless the registry wants larger ones: the least that object stores take as a
/// part, so that little is sent again. Each blob that is under way holds one in memory.
const CHUNK_BYTES: u64 = 5 << 20;
/// From the third failure in a row on, chunks are halved as often as this: where connections do
/// not live for a chunk, less may get through.
const MAX_HALVINGS: u32 = 3;
/// No larger chunks are made, whatever the registry wants: it gets the blob in one request.
const MAX_CHUNK_BYTES: u64 = 64 << 20;

/// So many sessions in a row may be lost without any of them going further than one before.
const MAX_LOST_CHUNKS: u32 = 16;

/// How the sending ended.
pub(super) enum Sent {
    /// The registry has the blob.
    Stored,
    /// The registry takes no chunks.
    NoChunks,
}

/// One blob's way through sessions.
pub(super) struct Sending<'a> {
    upload: &'a Upload<'a>,
    attempt: &'a RequestContext<'a>,
    chunks: Chunks<'a>,
    shown: &'a UploadProgress<'a>,
    journal: Option<Entry>,
    session: Option<Session>,
    tries: RetryState,
    /// After a failure that was waited out, until the registry says how far it is.
    is_recovering: bool,
    /// The most that the session ever had. What goes beyond is progress, and gives a new budget of
    /// tries.
    reached: u64,
    /// The most that any session ever had, and how many were lost since.
    furthest: u64,
    lost: u32,
}

impl<'a> Sending<'a> {
    /// `session` is one that is open already, if any.
    pub(super) fn new(
        upload: &'a Upload<'a>,
        attempt: &'a RequestContext<'a>,
        shown: &'a UploadProgress<'a>,
        session: Option<Session>,
    ) -> Self {
        let journal = match upload.descriptor.size > CHUNK_BYTES {
            true => upload.journal,
            // It would be sent again in one request anyhow.
            false => None,
        };
        Self {
            upload,
            attempt,
            chunks: Chunks::new(upload.open, attempt, upload.descriptor),
            shown,
            journal: journal.and_then(|journal| journal.entry(upload.repository, upload.descriptor.digest)),
            session,
            tries: RetryState::default(),
            is_recovering: false,
            reached: 0,
            furthest: 0,
            lost: 0,
        }
    }

    /// To the end. An open session stays noted only after a failure that passes.
    pub(super) fn run(mut self) -> Result<Sent, RegistryError> {
        let noted = self.journal.as_ref().and_then(Entry::read);
        let mut is_resumed = noted.is_some();
        if let Some(session) = noted.or_else(|| self.session.take()) {
            self.note(&session);
            self.session = Some(session);
        }
        let result = loop {
            match self.step() {
                Ok(None) => is_resumed = false,
                Ok(Some(sent)) => break Ok(sent),
                // That of an earlier run may be gone, or another account's.
                Err(SessionError::Failed(error)) if is_resumed && !error.is_passing() => self.session = None,
                Err(SessionError::Lost) if is_resumed => self.session = None,
                Err(trouble) => match self.recover(trouble) {
                    Ok(None) => {}
                    Ok(Some(sent)) => break Ok(sent),
                    Err(error) => break Err(error),
                },
            }
            is_resumed = is_resumed && self.session.is_some();
        };
        if let Some(entry) = &self.journal
            && result.as_ref().err().is_none_or(|error| !error.is_passing())
        {
            entry.remove();
        }
        result
    }

    /// The next request.
    fn step(&mut self) -> Result<Option<Sent>, SessionError> {
        let (shared, descriptor) = (self.upload.shared, self.upload.descriptor);
        let client = &shared.client;
        let Some(session) = &mut self.session else {
            let session = shared.block_on(client.open_upload(self.attempt))?;
            self.note(&session);
            self.session = Some(session);
            return Ok(None);
        };
        let Some(offset) = session.offset else {
            shared.block_on(client.ask_offset(self.attempt, session, descriptor))?;
            self.moved();
            return Ok(None);
        };
        let halvings = self.tries.failures().saturating_sub(2).min(MAX_HALVINGS);
        let size = (CHUNK_BYTES >> halvings).max(session.min_chunk);
        if size.min(descriptor.size) > MAX_CHUNK_BYTES {
            return Err(SessionError::NoChunks);
        }
        let is_small = offset == 0 && descriptor.size <= size;
        let chunk = self.chunks.at(offset, size)?;
        if is_small || offset == descriptor.size {
            let rest = if is_small { chunk } else { Bytes::new() };
            shared.block_on(client.finish_upload(self.attempt, session, descriptor.digest, rest))?;
            self.shown.reach(descriptor.size);
            return Ok(Some(Sent::Stored));
        }
        shared.block_on(client.send_chunk(self.attempt, session, offset, chunk))?;
        if session.offset == Some(offset) {
            return Err(SessionError::Elsewhere);
        }
        self.moved();
        Ok(None)
    }

    /// What to do after a failure: wait, then go on from where the registry is.
    fn recover(&mut self, trouble: SessionError) -> Result<Option<Sent>, RegistryError> {
        let broken = |why: &str| self.attempt.broken(why.into());
        let error = match trouble {
            SessionError::NoChunks => return Ok(Some(Sent::NoChunks)),
            SessionError::Failed(error) => error,
            SessionError::Elsewhere => broken("it wants to go on from another byte of the blob"),
            SessionError::Lost => {
                self.session = None;
                // Its last answer may have been lost, and the blob be complete.
                if self.upload.shared.persist(self.attempt, || self.upload.exists(self.attempt))? {
                    self.shown.reach(self.upload.descriptor.size);
                    return Ok(Some(Sent::Stored));
                }
                let error = broken("it dropped the upload, which begins anew");
                (self.reached, self.lost) = (0, self.lost + 1);
                if self.lost == MAX_LOST_CHUNKS {
                    return Err(error);
                }
                if std::mem::take(&mut self.is_recovering) {
                    return Ok(None);
                }
                error
            }
        };
        self.upload.shared.again(self.attempt, &mut self.tries, error)?;
        if let Some(session) = &mut self.session {
            session.offset = None;
            self.is_recovering = true;
        }
        Ok(None)
    }

    fn moved(&mut self) {
        let Some(session) = &self.session else { return };
        self.note(session);
        let offset = session.offset.unwrap_or(0);
        self.is_recovering = false;
        self.shown.reach(offset);
        if offset > self.reached {
            self.reached = offset;
            self.tries = RetryState::default();
        }
        if offset > self.furthest {
            (self.furthest, self.lost) = (offset, 0);
        }
    }

    /// A signed URL of a storage is as good as a password, and stays in memory.
    fn note(&self, session: &Session) {
        let is_own = session
            .location()
            .expose()
            .parse()
            .is_ok_and(|url| self.upload.shared.client.is_own(self.attempt, &url));
        if let Some(entry) = self.journal.as_ref().filter(|_| is_own) {
            entry.write(session);
        }
    }
}
