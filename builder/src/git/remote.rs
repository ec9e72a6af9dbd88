//! Where a repository is, apart from what opens it.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::credential::Credential;
use crate::secret::Secret;

/// How long a URL may be, in bytes. Longer ones are mistakes or attacks.
const MAX_URL_BYTES: usize = 2048;

/// No repository needs them, and an address passes through tools that split command lines.
const SHELL_CHARACTERS: [char; 12] = ['`', '$', ';', '&', '|', '<', '>', '(', ')', '{', '}', '*'];

/// A repository's address. Printing it shows the public part only.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    url: String,
    /// Where it is fetched from, if that is not its public address.
    location: Option<String>,
    transport: Transport,
    credential: Option<Credential>,
    /// The user information as it stood in the URL, for whoever searches text for it.
    written: Option<Secret>,
}

/// How a repository is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `https://` or `http://`.
    Http {
        /// `https://host[:port]`: where a credential may be sent to, and nowhere else.
        origin: String,
    },
    /// `ssh://` or `user@host:path`.
    Ssh,
    /// `file://` or an absolute path: this path.
    File(PathBuf),
}

/// A string that names no repository.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to read `{shown}` as the address of a git repository: {reason}")]
#[diagnostic(help(
    "expected https://host/path, http://host/path, ssh://user@host/path, user@host:path, \
     file:///path or an absolute path"
))]
pub struct RemoteError {
    shown: String,
    reason: &'static str,
}

impl RemoteError {
    /// `raw` is shown up to its first odd character and without what stands before an `@`.
    pub(super) fn new(raw: &str, reason: &'static str) -> Self {
        let (scheme, rest) = raw.split_once("://").map_or(("", raw), |(scheme, rest)| (scheme, rest));
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        let separator = if scheme.is_empty() { "" } else { "://" };
        let shown = format!("{scheme}{separator}{rest}");
        Self { shown: shown.chars().take(200).flat_map(char::escape_debug).collect(), reason }
    }
}

impl Remote {
    /// Reads an address; credentials in it are split off.
    ///
    /// Refused are other schemes, addresses that git or bench would read as an option or as
    /// several words, passwords for ssh, and relative paths.
    pub fn parse(raw: &str) -> Result<Self, RemoteError> {
        let refuse = |reason| Err(RemoteError::new(raw, reason));
        if raw.is_empty() || raw.len() > MAX_URL_BYTES {
            return refuse("it is empty or longer than 2048 bytes");
        }
        if raw.starts_with('-') {
            return refuse("it starts with `-`");
        }
        if raw.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '\'' | '"' | '\\')) {
            return refuse("it contains a blank, a quote, a backslash or a control character");
        }
        let remote = match raw.split_once("://") {
            Some(("https" | "http", _)) => Self::http(raw),
            Some(("ssh", _)) => Self::ssh(raw),
            Some(("file", path)) => Self::file(raw, path),
            Some(_) => refuse("its scheme is not supported"),
            None if raw.starts_with('/') => Self::file(raw, raw),
            None if raw.contains("::") => refuse("git's remote helpers are not supported"),
            None => Self::scp(raw),
        }?;
        if remote.url.contains(SHELL_CHARACTERS) {
            return refuse("it contains a character with a meaning for a shell");
        }
        Ok(remote)
    }

    /// The same repository, opened by this.
    pub fn with_credential(mut self, credential: Credential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// The same repository at a mirror's http(s) address. What opens the public one is not sent
    /// there.
    pub fn located_at(self, address: &str) -> Result<Self, RemoteError> {
        let there = Self::http(address)?;
        Ok(Self { url: self.url, location: Some(there.url), ..there })
    }

    /// The public address without credentials: for people, for the lock, for `insteadOf`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address that is asked, without credentials.
    pub fn location(&self) -> &str {
        self.location.as_deref().unwrap_or(&self.url)
    }

    /// How it is reached.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What opens it, if it came with the address or was given.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Every form in which its secrets may show up in text: as written, decoded, encoded.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        let secret = self.credential.as_ref().map(Credential::secret);
        let encoded = secret.map(|text| Secret::new(percent_encode(text)));
        let plain = secret.map(Secret::new);
        plain.into_iter().chain(encoded).chain(self.written.clone())
    }

    fn http(raw: &str) -> Result<Self, RemoteError> {
        let mut url = Url::parse(raw).map_err(|_| RemoteError::new(raw, "it is no valid URL"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(RemoteError::new(raw, "it names no host"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(RemoteError::new(raw, "a query (`?`) or a fragment (`#`) is no part of one"));
        }
        let (credential, written) = match (url.username(), url.password()) {
            ("", None) => (None, None),
            (name, password) => {
                let decode = |text: &str| {
                    percent_decode(text)
                        .ok_or_else(|| RemoteError::new(raw, "its user or password is badly encoded"))
                };
                let written = password
                    .filter(|word| !word.is_empty() && *word != Credential::TOKEN_IS_THE_NAME)
                    .unwrap_or(name);
                let password = Secret::new(decode(password.unwrap_or_default())?);
                let credential = Credential::new(decode(name)?, password)
                    .map_err(|error| RemoteError::new(raw, error.reason))?;
                (Some(credential), Some(Secret::new(written)))
            }
        };
        // Neither fails for a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let origin = url.origin().ascii_serialization();
        let transport = Transport::Http { origin };
        Ok(Self { url: url.into(), location: None, transport, credential, written })
    }

    fn plain(raw: &str, transport: Transport) -> Self {
        Self { url: raw.to_owned(), location: None, transport, credential: None, written: None }
    }

    fn ssh(raw: &str) -> Result<Self, RemoteError> {
        let url = Url::parse(raw).map_err(|_| RemoteError::new(raw, "it is no valid URL"))?;
        if url.password().is_some() {
            return Err(RemoteError::new(raw, "ssh takes no password from a URL, but a key"));
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() || host.starts_with('-') || url.username().starts_with('-') {
            return Err(RemoteError::new(raw, "its user or host is missing or starts with `-`"));
        }
        Ok(Self::plain(raw, Transport::Ssh))
    }

    /// `user@host:path`.
    fn scp(raw: &str) -> Result<Self, RemoteError> {
        let Some((who, path)) = raw.split_once(':').filter(|(who, _)| !who.contains('/')) else {
            return Err(RemoteError::new(raw, "it is neither a URL nor an absolute path"));
        };
        let (user, host) = who.split_once('@').unwrap_or(("git", who));
        let plain = |text: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !text.is_empty() && !text.starts_with('-') && text.bytes().all(allowed)
        };
        if !plain(user) || !plain(host) || path.is_empty() || path.starts_with('-') {
            return Err(RemoteError::new(raw, "its user, host or path is empty or has odd characters"));
        }
        Ok(Self::plain(raw, Transport::Ssh))
    }

    fn file(raw: &str, path: &str) -> Result<Self, RemoteError> {
        if !Path::new(path).is_absolute() {
            return Err(RemoteError::new(raw, "its path is not absolute"));
        }
        let path = percent_decode_path(raw, path)?;
        Ok(Self::plain(raw, Transport::File(path)))
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            None => f.write_str(&self.url),
            Some(location) => write!(f, "{} (from its mirror {location})", self.url),
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.url)
    }
}

/// git decodes `%20` in a file URL, and in a plain path it does not.
fn percent_decode_path(raw: &str, path: &str) -> Result<PathBuf, RemoteError> {
    if raw.starts_with('/') {
        return Ok(path.into());
    }
    let path = percent_decode(path).ok_or_else(|| RemoteError::new(raw, "its path is badly encoded"))?;
    Ok(path.into())
}

/// `None` when it is not UTF-8 or a `%` is not followed by two hexadecimal digits.
fn percent_decode(text: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    match text.split('%').skip(1).all(is_escape) {
        true => percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned),
        false => None,
    }
}

/// Encodes all but the characters that RFC 3986 calls unreserved.
fn percent_encode(text: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(raw: &str) -> Vec<String> {
        Remote::parse(raw).unwrap().secrets().map(|secret| secret.expose().to_owned()).collect()
    }

    #[test]
    fn credentials_are_split_off() {
        let remote = Remote::parse("https://user:to%40ken@git.example.org/org/app.git").unwrap();
        assert_eq!(remote.url(), "https://git.example.org/org/app.git");
        assert_eq!(remote.credential().unwrap().username(), "user");
        assert_eq!(remote.credential().unwrap().password().expose(), "to@ken");
        assert_eq!(remote.transport(), &Transport::Http { origin: "https://git.example.org".into() });
        let shown = format!("{remote} {remote:?} {:?}", remote.credential());
        assert!(!shown.contains("ken"), "{shown}");
    }

    #[test]
    fn secrets_come_in_every_form() {
        assert_eq!(secrets("https://user:a+b%40c@host/x"), ["a+b@c", "a%2Bb%40c", "a+b%40c"]);
        assert_eq!(secrets("https://token@host/x"), ["token", "token", "token"]);
        assert_eq!(secrets("https://token:x-oauth-basic@host/x"), ["token", "token", "token"]);
        assert!(secrets("https://host/x").is_empty());
    }

    #[test]
    fn the_forms_of_addresses_are_told_apart() {
        let transport = |raw| Remote::parse(raw).unwrap().transport().clone();
        assert_eq!(transport("git@github.com:frappe/frappe.git"), Transport::Ssh);
        assert_eq!(transport("ssh://git@github.com:22/frappe/frappe"), Transport::Ssh);
        assert_eq!(transport("/srv/app.git"), Transport::File("/srv/app.git".into()));
        assert_eq!(transport("file:///srv/a%20b"), Transport::File("/srv/a b".into()));
        let origin = "http://127.0.0.1:8080".to_owned();
        assert_eq!(transport("http://127.0.0.1:8080/app"), Transport::Http { origin });
    }

    #[test]
    fn bad_addresses_are_refused_without_their_secrets() {
        for raw in [
            "",
            "-uupload-pack=touch",
            "--upload-pack=x",
            "ext::sh -c touch% /tmp/x",
            "ext::sh",
            "javascript:alert(1)//",
            "git://host/app",
            "ftp://user:hunter22@host/app",
            "https://user:hunter22@/app",
            "https://user:hunter22@host/a b",
            "https://user:hunter22@host/a?x=1",
            "https://user:hunter%ZZ22@host/a",
            "https://user:hunter%0A22@host/a",
            "https://user:hunter22@host/a'b",
            "ssh://user:hunter22@host/app",
            "ssh://-oProxyCommand=x/app",
            "-oProxyCommand=x:app",
            "git@-host:app",
            "git@host:-app",
            "relative/path",
            "../app",
            "file://host/app",
            "C:\\app",
        ] {
            let error = Remote::parse(raw).unwrap_err().to_string();
            assert!(!error.contains("hunter"), "{error}");
        }
    }
}
