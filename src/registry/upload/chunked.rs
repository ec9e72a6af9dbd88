//! The chunked upload: a blob in several requests. After a failure it is resumed from the offset that
//! the registry reports: at most one chunk is sent twice.

use bytes::Bytes;

use super::job::Upload;
use super::journal::Entry;
use super::progress::UploadProgress;
use super::session::{Session, SessionError};
use super::source::Chunks;
use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::executor::Attempts;

/// The size of a chunk, unless the registry requires larger ones: the minimum part size of object
/// stores, so that little is sent again. Each blob that is sent keeps one chunk in memory.
const CHUNK_BYTES: u64 = 5 << 20;
/// From the third consecutive failure on, chunks are halved up to this many times: a smaller chunk may
/// be sent where connections break before a larger one is complete.
const MAX_HALVINGS: u32 = 3;
/// Maximum size of a chunk. If the registry requires larger ones, the blob is sent in one request.
const MAX_CHUNK_BYTES: u64 = 64 << 20;
/// Maximum number of sessions in a row that the registry drops without one of them having received
/// more than an earlier one.
const MAX_LOST_SESSIONS: u32 = 16;

/// The result of a chunked upload.
pub(super) enum Outcome {
    /// The registry has the blob.
    Stored,
    /// The registry does not support chunks.
    NoChunks,
}

/// The upload of one blob, through as many sessions as necessary.
pub(super) struct ChunkedUpload<'a> {
    upload: &'a Upload<'a>,
    context: &'a RequestContext<'a>,
    chunks: Chunks<'a>,
    progress: &'a UploadProgress<'a>,
    journal: Option<Entry>,
    session: Option<Session>,
    attempts: Attempts,
    /// After a failure that was waited out, until the registry has reported its offset.
    is_recovering: bool,
    /// The maximum offset of the session. An offset beyond it is progress, and resets the attempts.
    reached: u64,
    /// The maximum offset of all sessions, and the number of sessions that were lost since.
    furthest: u64,
    lost_sessions: u32,
}

impl<'a> ChunkedUpload<'a> {
    /// `session` is one that is already open, if any.
    pub(super) fn new(
        upload: &'a Upload<'a>,
        context: &'a RequestContext<'a>,
        progress: &'a UploadProgress<'a>,
        session: Option<Session>,
    ) -> Self {
        // A blob of one chunk is sent again in one request in any case.
        let journal = upload.journal.filter(|_| upload.descriptor.size > CHUNK_BYTES);
        Self {
            upload,
            context,
            chunks: Chunks::new(upload.open, context, upload.descriptor),
            progress,
            journal: journal.and_then(|journal| journal.entry(upload.repository, upload.descriptor.digest)),
            session,
            attempts: Attempts::default(),
            is_recovering: false,
            reached: 0,
            furthest: 0,
            lost_sessions: 0,
        }
    }

    /// Sends the complete blob. The open session stays in the journal only after a temporary failure.
    pub(super) fn run(mut self) -> Result<Outcome, RegistryError> {
        let stored = self.journal.as_ref().and_then(Entry::read);
        let mut is_resumed = stored.is_some();
        if let Some(session) = stored.or_else(|| self.session.take()) {
            self.store(&session);
            self.session = Some(session);
        }
        let result = loop {
            match self.step() {
                Ok(None) => is_resumed = false,
                Ok(Some(outcome)) => break Ok(outcome),
                // The session of an earlier run may be gone, or belong to another account.
                Err(SessionError::Failed(error)) if is_resumed && !error.is_temporary() => {
                    self.session = None;
                }
                Err(SessionError::Lost) if is_resumed => self.session = None,
                Err(error) => match self.recover(error) {
                    Ok(None) => {}
                    Ok(Some(outcome)) => break Ok(outcome),
                    Err(error) => break Err(error),
                },
            }
            is_resumed = is_resumed && self.session.is_some();
        };
        if let Some(entry) = &self.journal
            && result.as_ref().err().is_none_or(|error| !error.is_temporary())
        {
            entry.remove();
        }
        result
    }

    /// Sends the next request.
    fn step(&mut self) -> Result<Option<Outcome>, SessionError> {
        let (executor, descriptor) = (self.upload.executor, self.upload.descriptor);
        let (client, context) = (&executor.client, self.context);
        let Some(session) = &mut self.session else {
            let session = executor.block_on(Session::open(client, context))?;
            self.store(&session);
            self.session = Some(session);
            return Ok(None);
        };
        let Some(offset) = session.offset else {
            executor.block_on(session.request_offset(client, context, descriptor))?;
            self.advance();
            return Ok(None);
        };
        let size = chunk_size(&self.attempts, session.min_chunk);
        if size.min(descriptor.size) > MAX_CHUNK_BYTES {
            return Err(SessionError::NoChunks);
        }
        let is_small = offset == 0 && descriptor.size <= size;
        let chunk = self.chunks.at(offset, size)?;
        if is_small || offset == descriptor.size {
            let rest = if is_small { chunk } else { Bytes::new() };
            executor.block_on(session.finish(client, context, descriptor.digest, rest))?;
            self.progress.reach(descriptor.size);
            return Ok(Some(Outcome::Stored));
        }
        executor.block_on(session.send_chunk(client, context, offset, chunk))?;
        if session.offset == Some(offset) {
            return Err(SessionError::WrongOffset);
        }
        self.advance();
        Ok(None)
    }

    /// Waits after a failure, and prepares the next request.
    fn recover(&mut self, error: SessionError) -> Result<Option<Outcome>, RegistryError> {
        let broken = |reason: &str| self.context.broken(reason.into());
        let error = match error {
            SessionError::NoChunks => return Ok(Some(Outcome::NoChunks)),
            SessionError::Failed(error) => error,
            SessionError::WrongOffset => broken("it expects another offset of the blob"),
            SessionError::Lost => {
                self.session = None;
                // Its last response may have been lost, and the blob be complete.
                if self.upload.exists(self.context)? {
                    self.progress.reach(self.upload.descriptor.size);
                    return Ok(Some(Outcome::Stored));
                }
                let error = broken("it dropped the upload, which starts again");
                (self.reached, self.lost_sessions) = (0, self.lost_sessions + 1);
                if self.lost_sessions == MAX_LOST_SESSIONS {
                    return Err(error);
                }
                if std::mem::take(&mut self.is_recovering) {
                    return Ok(None);
                }
                error
            }
        };
        self.upload.executor.wait_for_retry(self.context, &mut self.attempts, error)?;
        if let Some(session) = &mut self.session {
            session.offset = None;
            self.is_recovering = true;
        }
        Ok(None)
    }

    /// Registers the session's new offset.
    fn advance(&mut self) {
        let Some(session) = &self.session else { return };
        self.store(session);
        let offset = session.offset.unwrap_or(0);
        self.is_recovering = false;
        self.progress.reach(offset);
        if offset > self.reached {
            self.reached = offset;
            self.attempts = Attempts::default();
        }
        if offset > self.furthest {
            (self.furthest, self.lost_sessions) = (offset, 0);
        }
    }

    /// Stores the session in the journal. The presigned URL of an object store is as good as a
    /// password, and is not stored.
    fn store(&self, session: &Session) {
        let client = &self.upload.executor.client;
        let url = session.location().expose().parse();
        if let Some(entry) = &self.journal
            && url.is_ok_and(|url| client.is_own_url(self.context, &url))
        {
            entry.write(session);
        }
    }
}

/// The size of the next chunk.
fn chunk_size(attempts: &Attempts, min_chunk: u64) -> u64 {
    let halvings = attempts.failures().saturating_sub(2).min(MAX_HALVINGS);
    (CHUNK_BYTES >> halvings).max(min_chunk)
}
