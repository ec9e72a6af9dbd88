//! A stream that is what its descriptor says.

use std::io::{self, Read};

use crate::digest::{Digest, Hashing};
use crate::oci::Descriptor;

/// Why a stream was refused.
#[derive(Debug, thiserror::Error)]
#[error("failed to verify blob {wanted}: wanted {wanted_size} bytes, got {got}")]
pub struct Unverified {
    wanted: Digest,
    wanted_size: u64,
    got: String,
}

/// Reads a blob, and gives its last bytes away only when all of them together have the
/// descriptor's digest and size. So whoever reads to the end has read the right bytes, and
/// whoever needs all of a wrong blob never gets it.
pub struct Verified<R> {
    inner: Hashing<R>,
    wanted: Digest,
    size: u64,
    read: u64,
    checked: bool,
}

impl<R: Read> Verified<R> {
    /// The blob that `descriptor` names, read from `inner`.
    pub fn new(inner: R, descriptor: &Descriptor) -> Self {
        let Descriptor { digest, size, .. } = *descriptor;
        Self { inner: Hashing::new(inner), wanted: digest, size, read: 0, checked: false }
    }

    fn check(&mut self) -> io::Result<()> {
        self.checked = true;
        let got = self.inner.digest();
        if got != self.wanted {
            return Err(self.refused(format!("as many with {got}")));
        }
        match self.inner.get_mut().read(&mut [0])? {
            0 => Ok(()),
            _ => Err(self.refused("more".to_owned())),
        }
    }

    fn refused(&self, got: String) -> io::Error {
        io::Error::other(Unverified { wanted: self.wanted, wanted_size: self.size, got })
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.checked || buffer.is_empty() {
            return Ok(0);
        }
        let left = self.size - self.read;
        let room = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.inner.read(&mut buffer[..room])?;
        self.read += count as u64;
        if count == 0 && left > 0 {
            return Err(self.refused(self.read.to_string()));
        }
        if self.read == self.size {
            self.check()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], descriptor: &Descriptor) -> (Vec<u8>, io::Result<usize>) {
        let mut got = Vec::new();
        let result = Verified::new(bytes, descriptor).read_to_end(&mut got);
        (got, result)
    }

    #[test]
    fn right_bytes_come_whole() {
        for length in [0, 1, 100_000] {
            let bytes = vec![7; length];
            let (got, result) = read(&bytes, &Descriptor::of("x", &bytes));
            assert_eq!((got, result.unwrap()), (bytes, length));
        }
    }

    #[test]
    fn wrong_bytes_never_do() {
        let bytes = vec![7; 100_000];
        let mut changed = bytes.clone();
        changed[5] = 8;
        let longer = [&bytes[..], b"x"].concat();
        for wrong in [&changed[..], &bytes[1..], b"", &longer] {
            let (got, result) = read(wrong, &Descriptor::of("x", &bytes));
            assert!(got.len() < bytes.len() && result.unwrap_err().to_string().contains("failed to verify"));
        }
        let nothing = Descriptor::of("x", b"");
        assert!(read(b"x", &nothing).1.is_err());
        assert!(read(b"", &Descriptor::new("x", Digest::of(b"y"), 0)).1.is_err());
    }
}
