//! The location of a repository, and the credential for it.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use crate::net::Credential;
use crate::secret::Secret;

/// Bytes of a URL. Longer ones are mistakes or attacks.
const MAX_URL_BYTES: usize = 2048;
/// Characters that no repository needs: a URL passes through tools that split command lines.
const SHELL_CHARACTERS: [char; 12] = ['`', '$', ';', '&', '|', '<', '>', '(', ')', '{', '}', '*'];
/// The user name beside a token. All common hosts accept it.
const TOKEN_USER: &str = "x-access-token";

/// A repository's URL with the credential for it. Printing it shows the public part only.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    url: String,
    /// The URL that it is fetched from, if that is not the public one.
    location: Option<String>,
    transport: Transport,
    /// Always [`Credential::Basic`]: see [`Remote::with_credential`].
    credential: Option<Credential>,
    /// The secret of the URL as it was written, for redaction.
    written_secret: Option<Secret>,
}

/// The transport of a remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `https://` or `http://`.
    Http {
        /// `https://host[:port]`: the only origin that the credential may be sent to.
        origin: String,
    },
    /// `ssh://` or `user@host:path`.
    Ssh,
    /// `file://` or an absolute path: this path.
    File(PathBuf),
}

/// The text is not the URL of a repository.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to parse `{shown}` as the URL of a git repository: {reason}")]
#[diagnostic(help(
    "expected https://host/path, http://host/path, ssh://user@host/path, user@host:path, \
     file:///path or an absolute path"
))]
pub struct RemoteError {
    shown: String,
    reason: &'static str,
}

impl RemoteError {
    /// `raw` is shown with control characters escaped, and without the part before an `@`.
    fn new(raw: &str, reason: &'static str) -> Self {
        let (scheme, rest) = raw.split_once("://").map_or(("", raw), |(scheme, rest)| (scheme, rest));
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        let separator = if scheme.is_empty() { "" } else { "://" };
        let shown = format!("{scheme}{separator}{rest}");
        Self { shown: shown.chars().take(200).flat_map(char::escape_debug).collect(), reason }
    }
}

impl Remote {
    /// Parses a URL. A credential in it becomes the credential of the remote.
    ///
    /// Rejects other schemes, URLs that git or bench would interpret as an option or as several
    /// words, passwords for ssh, and relative paths.
    pub fn parse(raw: &str) -> Result<Self, RemoteError> {
        let reject = |reason| Err(RemoteError::new(raw, reason));
        if raw.is_empty() || raw.len() > MAX_URL_BYTES {
            return reject("it is empty or longer than 2 KiB");
        }
        if raw.starts_with('-') {
            return reject("it starts with `-`");
        }
        if raw.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '\'' | '"' | '\\')) {
            return reject("it contains white space, a quote, a backslash or a control character");
        }
        let remote = match raw.split_once("://") {
            Some(("https" | "http", _)) => Self::http(raw),
            Some(("ssh", _)) => Self::ssh(raw),
            Some(("file", path)) => Self::file(raw, path),
            Some(_) => reject("its scheme is not supported"),
            None if raw.starts_with('/') => Self::file(raw, raw),
            None if raw.contains("::") => reject("git's remote helpers are not supported"),
            None => Self::scp(raw),
        }?;
        if remote.url.contains(SHELL_CHARACTERS) {
            return reject("it contains a character with a special meaning for shells");
        }
        Ok(remote)
    }

    /// The same repository with this credential. A token becomes a password: git hosts accept basic
    /// authentication only.
    pub fn with_credential(mut self, credential: Credential) -> Result<Self, RemoteError> {
        if credential.has_line_end() {
            return Err(RemoteError::new(&self.url, "its user name or password contains a line break"));
        }
        self.credential = Some(match credential {
            Credential::Basic { .. } => credential,
            Credential::Bearer(token) | Credential::IdentityToken(token) => {
                Credential::Basic { user: TOKEN_USER.to_owned(), password: token }
            }
        });
        Ok(self)
    }

    /// The same repository at the http(s) URL of a mirror. The credential of the public URL is not
    /// sent to the mirror.
    pub fn located_at(self, location: &str) -> Result<Self, RemoteError> {
        let mirror = Self::http(location)?;
        Ok(Self { url: self.url, location: Some(mirror.url), ..mirror })
    }

    /// The public URL without credentials: for messages, the lock, and `insteadOf`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL that requests are sent to, without credentials.
    pub fn location(&self) -> &str {
        self.location.as_deref().unwrap_or(&self.url)
    }

    /// The transport.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Whether there is a credential, from the URL or from [`Remote::with_credential`].
    pub fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// The user name and the password of the credential.
    pub(super) fn credential(&self) -> Option<(&str, &Secret)> {
        match &self.credential {
            Some(Credential::Basic { user, password }) => Some((user, password)),
            _ => None,
        }
    }

    /// Every form in which its secrets can occur in text: decoded, as sent, percent-encoded, and as
    /// written.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        let decoded = self.credential.iter().flat_map(Credential::secrets);
        let is_secret = |text: &str| !text.is_empty() && text != Credential::TOKEN_IS_USER;
        let decoded = decoded.filter(move |secret| is_secret(secret.expose()));
        let encoded = |secret: Secret| [Secret::new(percent_encode(secret.expose())), secret];
        decoded.flat_map(encoded).chain(self.written_secret.clone())
    }

    fn http(raw: &str) -> Result<Self, RemoteError> {
        let mut url = Url::parse(raw).map_err(|_| RemoteError::new(raw, "it is not a valid URL"))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(RemoteError::new(raw, "it has no host"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(RemoteError::new(raw, "it has a query (`?`) or a fragment (`#`)"));
        }
        let written = written_credential(raw, &url)?;
        // Neither fails for a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let transport = Transport::Http { origin: url.origin().ascii_serialization() };
        let remote = Self::without_credential(url.as_str(), transport);
        match written {
            None => Ok(remote),
            Some((credential, secret)) => {
                let remote = remote
                    .with_credential(credential)
                    .map_err(|error| RemoteError::new(raw, error.reason))?;
                Ok(Self { written_secret: Some(secret), ..remote })
            }
        }
    }

    fn without_credential(url: &str, transport: Transport) -> Self {
        Self { url: url.to_owned(), location: None, transport, credential: None, written_secret: None }
    }

    fn ssh(raw: &str) -> Result<Self, RemoteError> {
        let url = Url::parse(raw).map_err(|_| RemoteError::new(raw, "it is not a valid URL"))?;
        if url.password().is_some() {
            return Err(RemoteError::new(raw, "ssh does not support a password in the URL: use a key"));
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() || host.starts_with('-') || url.username().starts_with('-') {
            return Err(RemoteError::new(raw, "its user or host is missing or starts with `-`"));
        }
        Ok(Self::without_credential(raw, Transport::Ssh))
    }

    /// `user@host:path`.
    fn scp(raw: &str) -> Result<Self, RemoteError> {
        let Some((authority, path)) = raw.split_once(':').filter(|(authority, _)| !authority.contains('/'))
        else {
            return Err(RemoteError::new(raw, "it is neither a URL nor an absolute path"));
        };
        let (user, host) = authority.split_once('@').unwrap_or(("git", authority));
        let is_plain = |text: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !text.is_empty() && !text.starts_with('-') && text.bytes().all(allowed)
        };
        if !is_plain(user) || !is_plain(host) || path.is_empty() || path.starts_with('-') {
            let reason = "its user, host or path is empty or has unsupported characters";
            return Err(RemoteError::new(raw, reason));
        }
        Ok(Self::without_credential(raw, Transport::Ssh))
    }

    /// git decodes percent-encoding in a file URL, but not in a plain path.
    fn file(raw: &str, path: &str) -> Result<Self, RemoteError> {
        if !Path::new(path).is_absolute() {
            return Err(RemoteError::new(raw, "its path is not absolute"));
        }
        let path = match raw.starts_with('/') {
            true => path.to_owned(),
            false => percent_decode(path)
                .ok_or_else(|| RemoteError::new(raw, "its path is not valid percent-encoding of UTF-8"))?,
        };
        Ok(Self::without_credential(raw, Transport::File(path.into())))
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

/// The credential of an http URL, and its secret as it is written there.
fn written_credential(raw: &str, url: &Url) -> Result<Option<(Credential, Secret)>, RemoteError> {
    let (user, password) = (url.username(), url.password());
    if user.is_empty() && password.is_none() {
        return Ok(None);
    }
    let decode = |text: &str| {
        let reason = "its user name or password is not valid percent-encoding of UTF-8";
        percent_decode(text).ok_or_else(|| RemoteError::new(raw, reason))
    };
    let is_secret = |password: &&str| !password.is_empty() && *password != Credential::TOKEN_IS_USER;
    let written = Secret::new(password.filter(is_secret).unwrap_or(user));
    let password = Secret::new(decode(password.unwrap_or_default())?);
    Ok(Some((Credential::Basic { user: decode(user)?, password }, written)))
}

/// `None` if the result is not UTF-8, or a `%` is not followed by two hexadecimal digits.
fn percent_decode(text: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    match text.split('%').skip(1).all(is_escape) {
        true => percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned),
        false => None,
    }
}

/// Encodes all characters except those that RFC 3986 calls unreserved.
fn percent_encode(text: &str) -> String {
    const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(raw: &str) -> Vec<String> {
        Remote::parse(raw).unwrap().secrets().map(|secret| secret.expose().to_owned()).collect()
    }

    #[test]
    fn separates_the_credential_from_the_url() {
        let remote = Remote::parse("https://user:to%40ken@git.example.org/org/app.git").unwrap();
        assert_eq!(remote.url(), "https://git.example.org/org/app.git");
        let (user, password) = remote.credential().unwrap();
        assert_eq!((user, password.expose()), ("user", "to@ken"));
        assert_eq!(remote.transport(), &Transport::Http { origin: "https://git.example.org".into() });
        let shown = format!("{remote} {remote:?} {:?}", remote.credential());
        assert!(!shown.contains("ken"), "{shown}");
    }

    #[test]
    fn lists_every_form_of_a_secret() {
        let has = |raw: &str, forms: &[&str]| {
            let secrets = secrets(raw);
            forms.iter().all(|form| secrets.iter().any(|secret| secret == form))
        };
        // The last form is that of basic authentication.
        let forms = ["a+b@c", "a%2Bb%40c", "a+b%40c", "dXNlcjphK2JAYw=="];
        assert!(has("https://user:a+b%40c@host/x", &forms));
        for raw in ["https://token@host/x", "https://token:x-oauth-basic@host/x"] {
            assert!(has(raw, &["token"]));
            assert!(!has(raw, &["x-oauth-basic"]) && !has(raw, &[""]), "{raw}");
        }
        assert!(!has("https://user:a+b%40c@host/x", &["user"]));
        assert!(secrets("https://host/x").is_empty());
    }

    #[test]
    fn a_token_becomes_a_password() {
        let remote = Remote::parse("https://host/x").unwrap();
        let remote = remote.with_credential(Credential::Bearer(Secret::new("t0ken"))).unwrap();
        let (user, password) = remote.credential().unwrap();
        assert_eq!((user, password.expose()), ("x-access-token", "t0ken"));
    }

    #[test]
    fn rejects_a_credential_with_a_line_break() {
        let credential = Credential::Basic { user: "a".into(), password: Secret::new("hunter22\nb") };
        let error = Remote::parse("https://host/x").unwrap().with_credential(credential).unwrap_err();
        assert!(!error.to_string().contains("hunter22"), "{error}");
    }

    #[test]
    fn distinguishes_the_forms_of_urls() {
        let transport = |raw| Remote::parse(raw).unwrap().transport().clone();
        assert_eq!(transport("git@github.com:frappe/frappe.git"), Transport::Ssh);
        assert_eq!(transport("ssh://git@github.com:22/frappe/frappe"), Transport::Ssh);
        assert_eq!(transport("/srv/app.git"), Transport::File("/srv/app.git".into()));
        assert_eq!(transport("file:///srv/a%20b"), Transport::File("/srv/a b".into()));
        let origin = "http://127.0.0.1:8080".to_owned();
        assert_eq!(transport("http://127.0.0.1:8080/app"), Transport::Http { origin });
    }

    #[test]
    fn rejects_other_text_without_showing_its_secrets() {
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
