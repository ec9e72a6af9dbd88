//! A reader that verifies a blob against its descriptor.

use std::io::{self, Read};

use crate::digest::{Digest, Hashing};
use crate::oci::Descriptor;

/// Bytes that are not the blob that a descriptor names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("failed to verify blob {expected}: {}", self.difference())]
pub struct VerifyError {
    /// The descriptor's digest.
    pub expected: Digest,
    /// The descriptor's size in bytes.
    pub expected_size: u64,
    /// The digest of the bytes that were read.
    pub actual: Digest,
    /// How many bytes were read: at most one more than expected.
    pub actual_size: u64,
}

impl VerifyError {
    /// The verification failure in an [`io::Error`] of a [`VerifiedReader`], unless it is another error.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    fn difference(&self) -> String {
        let Self { expected_size, actual, actual_size, .. } = self;
        match actual_size {
            size if size == expected_size => format!("the digest is {actual}"),
            size if size < expected_size => format!("expected {expected_size} bytes, got {size}"),
            _ => format!("expected {expected_size} bytes, got more"),
        }
    }
}

/// Reads a blob and verifies it at its end, before the last bytes are returned: a caller that reads
/// to the end without an error has read exactly the descriptor's bytes, and a caller never receives
/// all bytes of a wrong blob.
///
/// The failure is an [`io::Error`] that holds a [`VerifyError`] (see [`VerifyError::of`]). Every
/// read after it fails too. No more than one byte after the expected end is requested from the
/// inner reader.
pub struct VerifiedReader<R> {
    inner: Hashing<R>,
    expected: Digest,
    expected_size: u64,
    state: State,
}

enum State {
    Reading,
    Verified,
    Failed(VerifyError),
    /// Reading past the expected end failed: bytes were lost, so no later read may succeed.
    Broken,
}

impl<R: Read> VerifiedReader<R> {
    /// Reads the blob that `descriptor` names from `inner`.
    pub fn new(inner: R, descriptor: &Descriptor) -> Self {
        let Descriptor { digest, size, .. } = *descriptor;
        Self { inner: Hashing::new(inner), expected: digest, expected_size: size, state: State::Reading }
    }

    /// Reads and drops what is left, and verifies the blob.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink()).map(drop)
    }

    /// Checks digest and length after the expected number of bytes, or at an earlier end.
    fn verify(&mut self) -> io::Result<()> {
        let is_complete = self.inner.byte_count() == self.expected_size;
        let has_more = is_complete && self.read_one_more()?;
        if is_complete && !has_more && self.inner.digest() == self.expected {
            self.state = State::Verified;
            return Ok(());
        }
        let error = VerifyError {
            expected: self.expected,
            expected_size: self.expected_size,
            actual: self.inner.digest(),
            actual_size: self.inner.byte_count(),
        };
        self.state = State::Failed(error);
        Err(io::Error::other(error))
    }

    /// Whether there is a byte after the expected end. Retries here, because a caller that retries
    /// would lose the bytes that were read before.
    fn read_one_more(&mut self) -> io::Result<bool> {
        loop {
            match self.inner.read(&mut [0]) {
                Ok(count) => return Ok(count > 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.state = State::Broken;
                    return Err(error);
                }
            }
        }
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.state {
            State::Failed(error) => return Err(io::Error::other(error)),
            State::Broken => return Err(io::Error::other("an earlier read failed")),
            State::Verified => return Ok(0),
            State::Reading if buffer.is_empty() => return Ok(0),
            State::Reading => {}
        }
        let left = self.expected_size.saturating_sub(self.inner.byte_count());
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.inner.read(&mut buffer[..wanted])?;
        if count == 0 || count as u64 == left {
            self.verify()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], descriptor: &Descriptor) -> (Vec<u8>, io::Result<usize>) {
        let mut got = Vec::new();
        let result = VerifiedReader::new(bytes, descriptor).read_to_end(&mut got);
        (got, result)
    }

    #[test]
    fn returns_all_bytes_of_the_right_blob() {
        for length in [0, 1, 100_000] {
            let bytes = vec![7; length];
            let descriptor = Descriptor::of("x", &bytes);
            let (got, result) = read(&bytes, &descriptor);
            assert_eq!((got, result.unwrap()), (bytes.clone(), length));
            VerifiedReader::new(&bytes[..], &descriptor).finish().unwrap();
        }
    }

    #[test]
    fn never_returns_all_bytes_of_a_wrong_blob() {
        let bytes = vec![7; 100_000];
        let mut changed = bytes.clone();
        changed[5] = 8;
        let longer = [&bytes[..], b"xx"].concat();
        for (wrong, size) in [(&changed[..], 100_000), (&bytes[1..], 99_999), (b"", 0), (&longer, 100_001)] {
            let descriptor = Descriptor::of("x", &bytes);
            let (got, result) = read(wrong, &descriptor);
            let error = result.unwrap_err();
            assert!(got.len() < bytes.len() && error.to_string().contains("failed to verify"), "{error}");
            assert_eq!(VerifyError::of(&error).unwrap().actual_size, size);
            assert!(VerifiedReader::new(wrong, &descriptor).finish().is_err());
        }
        let empty = Descriptor::of("x", b"");
        assert!(read(b"x", &empty).1.is_err());
        assert!(read(b"", &Descriptor::new("x", Digest::of(b"y"), 0)).1.is_err());
    }

    #[test]
    fn fails_again_when_it_is_read_again() {
        let mut reader = VerifiedReader::new(&b"wrong"[..], &Descriptor::of("x", b"right"));
        for _ in 0..2 {
            let error = reader.read(&mut [0; 100]).unwrap_err();
            assert!(VerifyError::of(&error).is_some(), "{error}");
        }
    }

    /// Interrupts every other read.
    struct Interrupting<R>(R, bool);

    impl<R: Read> Read for Interrupting<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(buffer) }
        }
    }

    #[test]
    fn loses_no_byte_to_an_interrupt() {
        let mut got = Vec::new();
        let inner = Interrupting(&b"content"[..], false);
        VerifiedReader::new(inner, &Descriptor::of("x", b"content")).read_to_end(&mut got).unwrap();
        assert_eq!(got, b"content");
    }
}
