//! Secrets: a type that cannot be printed.

use std::fmt;

/// A token or a password. It can be used (see [`Secret::expose`]) but neither printed nor serialized,
/// so that it cannot get into a log, an error, a lock or an image by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret of a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text. Every call needs a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Replaces secrets in foreign text: a server's response, git's stderr, a build's output.
#[derive(Clone, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// Minimum length of a secret that is replaced: replacing shorter ones would garble the text.
    const MIN_SECRET_BYTES: usize = 4;

    /// A redactor of these secrets, without those shorter than four bytes.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<_> =
            secrets.into_iter().filter(|secret| secret.expose().len() >= Self::MIN_SECRET_BYTES).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        secrets.dedup();
        Self(secrets)
    }

    /// The text with every secret replaced by `***`.
    pub fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), "***"))
    }

    /// The secrets, to search for them in bytes.
    pub fn secrets(&self) -> &[Secret] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter22")), "***");
    }

    #[test]
    fn replaces_a_longer_secret_before_its_part() {
        let redactor = Redactor::new(["abcd", "abcdef", "xyz"].map(Secret::new));
        assert_eq!(redactor.redact("abcdef abcd xyz"), "*** *** xyz");
    }
}
