//! The bytes of a blob in chunks, from any offset that a registry requires.

use std::io::Read;

use bytes::Bytes;
use carafe_layers::digest::Hashing;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;

use super::job::OpenBlob;
use crate::registry::error::{RegistryError, RequestContext};

/// Reads a blob in chunks. It keeps the last chunk, so that sending it again rarely requires reading
/// again. A source is a stream: bytes that the registry has already are read and hashed, and not
/// returned.
pub(super) struct Chunks<'a> {
    open: &'a OpenBlob<'a>,
    context: &'a RequestContext<'a>,
    descriptor: &'a Descriptor,
    reader: Option<Hashing<Box<dyn Read + Send>>>,
    /// The bytes that were read last, and the offset of their end.
    kept: Bytes,
    end: u64,
}

impl<'a> Chunks<'a> {
    pub(super) fn new(
        open: &'a OpenBlob<'a>,
        context: &'a RequestContext<'a>,
        descriptor: &'a Descriptor,
    ) -> Self {
        Self { open, context, descriptor, reader: None, kept: Bytes::new(), end: 0 }
    }

    /// Up to `length` bytes from `offset`. The blob's last bytes are returned only after its digest was
    /// verified: a damaged blob is never completed.
    pub(super) fn at(&mut self, offset: u64, length: u64) -> Result<Bytes, RegistryError> {
        let start = self.end - self.kept.len() as u64;
        let is_verified = self.end == self.descriptor.size && self.reader.is_none() && self.end > 0;
        if offset < start || (self.reader.is_none() && !is_verified) {
            self.kept = Bytes::new();
            self.end = 0;
            self.reader = Some(Hashing::new((self.open)().map_err(|error| self.source_error(error))?));
        }
        let count = length.min(self.descriptor.size - offset) as usize;
        let skip = offset.saturating_sub(self.end - self.kept.len() as u64).min(self.kept.len() as u64);
        // Even an empty slice would keep the memory of the last chunk while the next one is read.
        let mut bytes = match std::mem::take(&mut self.kept) {
            kept if kept.len() as u64 == skip => Bytes::new(),
            kept => kept.slice(skip as usize..),
        };
        if bytes.len() < count {
            self.skip_to(offset)?;
            let mut all = Vec::with_capacity(count);
            all.extend_from_slice(&bytes);
            self.read((count - bytes.len()) as u64, &mut all)?;
            bytes = all.into();
        }
        if self.end == self.descriptor.size {
            self.verify()?;
        }
        self.kept = bytes.clone();
        bytes.truncate(count);
        Ok(bytes)
    }

    fn skip_to(&mut self, offset: u64) -> Result<(), RegistryError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let count = offset.saturating_sub(self.end);
        let skipped = std::io::copy(&mut reader.take(count), &mut std::io::sink());
        self.end += skipped.map_err(|source| self.read_error(source))?;
        Ok(())
    }

    fn read(&mut self, count: u64, into: &mut Vec<u8>) -> Result<(), RegistryError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let read = reader.take(count).read_to_end(into).map_err(|source| self.read_error(source))? as u64;
        self.end += read;
        if read < count {
            // The source ends early, so its digest is wrong.
            return self.verify();
        }
        Ok(())
    }

    /// Verifies at the end that nothing follows and that the digest is right.
    fn verify(&mut self) -> Result<(), RegistryError> {
        let Some(mut reader) = self.reader.take() else { return Ok(()) };
        reader.read(&mut [0]).map_err(|source| self.read_error(source))?;
        let (_, got, _) = reader.finish();
        let (action, expected) = (self.context.action.to_owned(), self.descriptor.digest);
        match got == expected {
            true => Ok(()),
            false => Err(RegistryError::DigestMismatch { action, expected, got }),
        }
    }

    fn read_error(&self, source: std::io::Error) -> RegistryError {
        self.source_error(SourceError::Io { path: "blob".to_owned(), source })
    }

    fn source_error(&self, source: SourceError) -> RegistryError {
        RegistryError::Blob { action: self.context.action.to_owned(), source }
    }
}
