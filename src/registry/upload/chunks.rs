//! A blob's bytes, piece by piece, from wherever a registry wants to go on.

use std::io::Read;

use bytes::Bytes;
use carafe_layers::digest::Hashing;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;

use super::OpenBlob;
use crate::registry::error::{RegistryError, RequestContext};

/// Holds the last chunk, so that what is sent again is rarely read again. A source is a stream
/// from its beginning: what the registry has already is read past, and hashed on the way.
pub(super) struct Chunks<'a> {
    open: &'a OpenBlob<'a>,
    attempt: &'a RequestContext<'a>,
    descriptor: &'a Descriptor,
    reader: Option<Hashing<Box<dyn Read + Send>>>,
    /// The bytes that were read last, and where they end.
    held: Bytes,
    end: u64,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(
        open: &'a OpenBlob<'a>,
        attempt: &'a RequestContext<'a>,
        descriptor: &'a Descriptor,
    ) -> Self {
        Self { open, attempt, descriptor, reader: None, held: Bytes::new(), end: 0 }
    }

    /// The bytes from `offset` on: `length`, or what is left. The blob's last bytes are given
    /// only after all of it was read and has the right digest: a damaged blob is never completed.
    pub(super) fn at(&mut self, offset: u64, length: u64) -> Result<Bytes, RegistryError> {
        let start = self.end - self.held.len() as u64;
        let is_verified = self.end == self.descriptor.size && self.reader.is_none() && self.end > 0;
        if offset < start || (self.reader.is_none() && !is_verified) {
            self.held = Bytes::new();
            self.end = 0;
            self.reader = Some(Hashing::new((self.open)().map_err(|error| self.unreadable(error))?));
        }
        let wanted = length.min(self.descriptor.size - offset) as usize;
        let skip = offset.saturating_sub(self.end - self.held.len() as u64).min(self.held.len() as u64);
        // Even an empty slice would keep the last chunk's memory while the next is read.
        let mut bytes = match std::mem::take(&mut self.held) {
            held if held.len() as u64 == skip => Bytes::new(),
            held => held.slice(skip as usize..),
        };
        if bytes.len() < wanted {
            self.skip_to(offset)?;
            let mut all = Vec::with_capacity(wanted);
            all.extend_from_slice(&bytes);
            self.read((wanted - bytes.len()) as u64, &mut all)?;
            bytes = all.into();
        }
        if self.end == self.descriptor.size {
            self.verify()?;
        }
        self.held = bytes.clone();
        bytes.truncate(wanted);
        Ok(bytes)
    }

    fn skip_to(&mut self, offset: u64) -> Result<(), RegistryError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let count = offset.saturating_sub(self.end);
        let skipped = std::io::copy(&mut reader.take(count), &mut std::io::sink());
        self.end += skipped.map_err(|source| self.broken(source))?;
        Ok(())
    }

    fn read(&mut self, count: u64, into: &mut Vec<u8>) -> Result<(), RegistryError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let read = reader.take(count).read_to_end(into).map_err(|source| self.broken(source))? as u64;
        self.end += read;
        if read < count {
            // It ends early: its digest says that it is another.
            return self.verify();
        }
        Ok(())
    }

    /// At the end: nothing may follow, and the digest is right.
    fn verify(&mut self) -> Result<(), RegistryError> {
        let Some(mut reader) = self.reader.take() else { return Ok(()) };
        reader.read(&mut [0]).map_err(|source| self.broken(source))?;
        let (_, got, _) = reader.finish();
        let (action, wanted) = (self.attempt.action.to_owned(), self.descriptor.digest);
        if got == wanted { Ok(()) } else { Err(RegistryError::DigestMismatch { action, wanted, got }) }
    }

    fn broken(&self, source: std::io::Error) -> RegistryError {
        self.unreadable(SourceError::Io { path: "blob".to_owned(), source })
    }

    fn unreadable(&self, source: SourceError) -> RegistryError {
        RegistryError::Blob { action: self.attempt.action.to_owned(), source }
    }
}
