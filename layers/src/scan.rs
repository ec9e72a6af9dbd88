//! Searches the content of a layer for secrets.

use memchr::memmem::Finder;

/// Minimum length of a secret in bytes. Shorter ones are ignored: they would be found in every layer.
pub const MIN_SECRET_BYTES: usize = 4;

/// Searches a stream of pieces for secrets. It compares bytes as they are: it finds a compressed or
/// encoded secret only if the caller passes that form too.
pub struct SecretScanner<'a> {
    finders: Vec<Finder<'a>>,
    /// Length of the longest secret in bytes.
    max_length: usize,
    /// The end of the stream so far, in which a secret may have begun.
    tail: Vec<u8>,
}

impl<'a> SecretScanner<'a> {
    /// Searches for each of `secrets`.
    pub fn new(secrets: &'a [Vec<u8>]) -> Self {
        let secrets = secrets.iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES);
        let max_length = secrets.clone().map(Vec::len).max().unwrap_or(0);
        Self { finders: secrets.map(Finder::new).collect(), max_length, tail: Vec::new() }
    }

    /// Begins a new stream.
    pub fn restart(&mut self) {
        self.tail.clear();
    }

    /// Whether a secret ends in `piece`. It may have begun in an earlier piece.
    #[must_use]
    pub fn finds(&mut self, piece: &[u8]) -> bool {
        if self.finders.is_empty() {
            return false;
        }
        let overlap = self.max_length - 1;
        let before = self.tail.len();
        self.tail.extend_from_slice(&piece[..piece.len().min(overlap)]);
        let found = (before > 0 && self.search(&self.tail)) || self.search(piece);
        if piece.len() >= overlap {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - overlap..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(overlap));
        }
        found
    }

    /// `bytes` with `***` in place of every secret, for messages.
    pub fn redact(&self, bytes: &[u8]) -> Vec<u8> {
        self.finders.iter().fold(bytes.to_vec(), |bytes, finder| {
            let mut rest = bytes.as_slice();
            let mut clean = Vec::new();
            while let Some(at) = finder.find(rest) {
                clean.extend_from_slice(&rest[..at]);
                clean.extend_from_slice(b"***");
                rest = &rest[at + finder.needle().len()..];
            }
            [clean.as_slice(), rest].concat()
        })
    }

    fn search(&self, bytes: &[u8]) -> bool {
        self.finders.iter().any(|finder| finder.find(bytes).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_that_is_split_between_pieces() {
        let secrets = [b"hunter2".to_vec(), b"correct horse".to_vec()];
        let text = b"xx correct horhunter2 correct horse";
        for piece in 1..text.len() {
            let mut scanner = SecretScanner::new(&secrets);
            let found = text.chunks(piece).filter(|piece| scanner.finds(piece)).count();
            assert!(found >= 1, "pieces of {piece}");
            scanner.restart();
            assert!(!b"xx correct hor hunter".chunks(piece).any(|piece| scanner.finds(piece)));
        }
    }

    #[test]
    fn finds_no_secret_that_spans_two_streams() {
        let secrets = [b"hunter2".to_vec()];
        let mut scanner = SecretScanner::new(&secrets);
        assert!(!scanner.finds(b"hunt"));
        scanner.restart();
        assert!(!scanner.finds(b"er2"));
    }

    #[test]
    fn redacts_every_secret() {
        let secrets = [b"hunter2".to_vec(), b"horse".to_vec()];
        let clean = SecretScanner::new(&secrets).redact(b"a/hunter2/b-hunter2horse");
        assert_eq!(clean, b"a/***/b-******");
    }

    #[test]
    fn ignores_short_secrets() {
        let secrets = [Vec::new(), b"a".to_vec()];
        assert!(!SecretScanner::new(&secrets).finds(b"aaaa"));
    }
}
