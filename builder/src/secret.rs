//! Secrets: a type that cannot be printed.

use std::fmt;

/// A token or a password. It can be used (see [`Secret::expose`]) but neither printed nor
/// serialised, so that it cannot reach a log, an error, a lock or an image by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. Every call of this is a place to look at in a review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Replaces every secret in text that comes from outside (a server's answer, git's stderr, a
/// build's output).
#[derive(Clone, Default)]
pub struct Redactor(Vec<Secret>);

impl Redactor {
    /// A shorter string than this is no secret: replacing it would garble the text.
    const MIN_SECRET_BYTES: usize = 4;

    /// Of these secrets; those shorter than four bytes are left alone.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<_> =
            secrets.into_iter().filter(|secret| secret.expose().len() >= Self::MIN_SECRET_BYTES).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        secrets.dedup();
        Self(secrets)
    }

    /// The text without them.
    pub fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.expose(), "***"))
    }

    /// The secrets, for whoever searches bytes for them.
    pub fn secrets(&self) -> &[Secret] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter22")), "***");
    }

    #[test]
    fn a_longer_secret_goes_before_its_part() {
        let redactor = Redactor::new(["abcd", "abcdef", "xyz"].map(Secret::new));
        assert_eq!(redactor.redact("abcdef abcd xyz"), "*** *** xyz");
    }
}
