//! The last look before a layer is written: does it hold a secret?

use memchr::memmem::Finder;

/// Shorter secrets are not looked for: they are found everywhere.
pub const MIN_SECRET_BYTES: usize = 4;

/// Looks for byte strings in a stream that comes in pieces. It sees bytes as they are: a secret
/// that is compressed or encoded inside a file is not found, unless the caller gives that form too.
pub struct Scanner<'a> {
    finders: Vec<Finder<'a>>,
    longest: usize,
    /// The end of what passed: as much as a secret could still begin in.
    tail: Vec<u8>,
}

impl<'a> Scanner<'a> {
    /// Looks for each of `secrets`.
    pub fn new(secrets: &'a [Vec<u8>]) -> Self {
        let secrets = secrets.iter().filter(|secret| secret.len() >= MIN_SECRET_BYTES);
        let longest = secrets.clone().map(Vec::len).max().unwrap_or(0);
        Self { finders: secrets.map(Finder::new).collect(), longest, tail: Vec::new() }
    }

    /// Begins a new stream: what passed is forgotten.
    pub fn restart(&mut self) {
        self.tail.clear();
    }

    /// Whether a secret ends in `piece`, having begun in it or before it.
    #[must_use]
    pub fn finds(&mut self, piece: &[u8]) -> bool {
        if self.finders.is_empty() {
            return false;
        }
        let border = self.longest - 1;
        let before = self.tail.len();
        self.tail.extend_from_slice(&piece[..piece.len().min(border)]);
        let found = (before > 0 && self.search(&self.tail)) || self.search(piece);
        if piece.len() >= border {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - border..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(border));
        }
        found
    }

    /// `bytes` with `***` in the place of every secret, for messages.
    pub fn without_secrets(&self, bytes: &[u8]) -> Vec<u8> {
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
    fn finds_a_secret_wherever_it_is_cut() {
        let secrets = [b"hunter2".to_vec(), b"correct horse".to_vec()];
        let text = b"xx correct horhunter2 correct horse";
        for piece in 1..text.len() {
            let mut scanner = Scanner::new(&secrets);
            let found = text.chunks(piece).filter(|piece| scanner.finds(piece)).count();
            assert!(found >= 1, "pieces of {piece}");
            scanner.restart();
            assert!(!b"xx correct hor hunter".chunks(piece).any(|piece| scanner.finds(piece)));
        }
    }

    #[test]
    fn streams_are_apart() {
        let secrets = [b"hunter2".to_vec()];
        let mut scanner = Scanner::new(&secrets);
        assert!(!scanner.finds(b"hunt"));
        scanner.restart();
        assert!(!scanner.finds(b"er2"));
    }

    #[test]
    fn secrets_are_cut_out_of_messages() {
        let secrets = [b"hunter2".to_vec(), b"horse".to_vec()];
        let clean = Scanner::new(&secrets).without_secrets(b"a/hunter2/b-hunter2horse");
        assert_eq!(clean, b"a/***/b-******");
    }

    #[test]
    fn what_is_too_short_is_not_looked_for() {
        let secrets = [Vec::new(), b"a".to_vec()];
        assert!(!Scanner::new(&secrets).finds(b"aaaa"));
    }
}
