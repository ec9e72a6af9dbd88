//! Image references, `registry/repository:tag@digest`, with Docker's defaults.

use std::fmt;
use std::str::FromStr;

use carafe_layers::digest::Digest;
use carafe_layers::text::escape;
use reqwest::Url;

/// A registry's host (with its port) and a repository in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Repository {
    registry: String,
    name: String,
}

impl Repository {
    /// The host as it was written, with its port if it has one: `docker.io`, `localhost:5000`,
    /// `[::1]:5000`. Settings and credentials are looked up under this name.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Parses `host/path`, where the host may have any form. `None` if it is not a repository.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (registry, name) = text.split_once('/')?;
        let parsed = parse(&format!("localhost/{name}"))?.repository;
        (parsed.name == name).then(|| Self { registry: registry.to_owned(), ..parsed })
    }

    /// The repository's path in the registry: `library/nginx`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// An image in a registry, by tag, by digest or by both. Without either, the tag is `latest`:
/// `nginx` is `docker.io/library/nginx:latest`. `Display` prints the complete form, which parses to
/// the same value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The repository of the image.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag; `None` only if there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one: it takes precedence over the tag.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository and tag, pinned to `digest`.
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The same tag and digest in another repository.
    pub(crate) fn with_repository(&self, repository: Repository) -> Self {
        Self { repository, ..self.clone() }
    }

    /// The last path segment of a manifest request: the digest if there is one, else the tag.
    pub(crate) fn manifest_name(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// A string that is not an image reference.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("failed to parse image reference `{text}`: {reason}")]
#[diagnostic(help("write it as `registry/repository:tag`, such as `registry.example.com/erp:15`"))]
pub struct ParseReferenceError {
    text: String,
    reason: &'static str,
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseReferenceError { text: escape(text), reason: violated_rule(text) })
    }
}

/// oci-client implements Docker's grammar and its rules for `docker.io`. Its grammar has no IPv6
/// hosts, and accepts an upper-case first component as a repository and any Unicode letter in a tag;
/// the specification allows neither.
fn parse(text: &str) -> Option<Reference> {
    let (address, rest) = match text.strip_prefix('[') {
        Some(_) => {
            let (host, rest) = text.split_once('/')?;
            (Some(ipv6_host(host)?), format!("localhost/{rest}"))
        }
        None => (None, text.to_owned()),
    };
    let parsed: oci_client::Reference = rest.parse().ok()?;
    let name = parsed.repository().to_owned();
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    if !parsed.tag().is_none_or(is_tag) {
        return None;
    }
    let digest = parsed.digest().map(Digest::from_str).transpose().ok()?;
    let registry = address.unwrap_or_else(|| parsed.registry().to_owned());
    Some(Reference {
        repository: Repository { registry, name },
        tag: parsed.tag().map(str::to_owned),
        digest,
    })
}

/// Checks `[::1]` or `[::1]:5000`, and returns it unchanged.
fn ipv6_host(host: &str) -> Option<String> {
    let (address, port) = host.strip_prefix('[')?.split_once(']')?;
    address.parse::<std::net::Ipv6Addr>().ok()?;
    let is_valid_port = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
    is_valid_port.then(|| host.to_owned())
}

/// The rule that an invalid reference violates, for its error message.
fn violated_rule(text: &str) -> &'static str {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let path = name.rsplit_once(':').map_or(name, |(path, tag)| if tag.contains('/') { name } else { path });
    let tag = name.strip_prefix(path).and_then(|rest| rest.strip_prefix(':'));
    if text.is_empty() {
        "it is empty"
    } else if text.contains("://") {
        "a reference must not have a scheme such as `https://`"
    } else if text.bytes().any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) {
        "it contains white space or a control character"
    } else if digest.is_some_and(|digest| digest.parse::<Digest>().is_err()) {
        "its digest is not `sha256:` followed by 64 lower-case hexadecimal digits"
    } else if text.starts_with('[') && text.split_once('/').is_none_or(|(host, _)| ipv6_host(host).is_none())
    {
        "its host is not `[IPv6 address]:port`"
    } else if tag.is_some_and(|tag| !is_tag(tag)) {
        "its tag is not 1 to 128 letters, digits, `_`, `.` or `-`, or starts with `.` or `-`"
    } else if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        "a repository must be lower case"
    } else if path.len() > 255 {
        "its repository is longer than 255 characters"
    } else {
        "a repository consists of lower-case letters and digits, joined by `/`, `.`, `_` or `-`"
    }
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Whether `text` is exactly `host` or `host:port`.
pub(crate) fn is_host(text: &str) -> bool {
    let has_only_host = |url: Url| url.path() == "/" && url.username().is_empty() && url.query().is_none();
    !text.ends_with(['/', ':'])
        && !text.contains('*')
        && Url::parse(&format!("http://{text}")).is_ok_and(has_only_host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap_or_else(|error| panic!("{error}")).to_string()
    }

    #[test]
    fn completes_references_as_docker_does() {
        for (text, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("docker.io/nginx:1", "docker.io/library/nginx:1"),
            ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
            ("frappe/erpnext:v15", "docker.io/frappe/erpnext:v15"),
            ("localhost/a", "localhost/a:latest"),
            ("localhost:5000/a/b:tag", "localhost:5000/a/b:tag"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
            ("[::1]:5000/a/b:tag", "[::1]:5000/a/b:tag"),
            ("[2001:db8::1]/a", "[2001:db8::1]/a:latest"),
            ("registry.example.com/a_b/c.d--e:T_1.0-x", "registry.example.com/a_b/c.d--e:T_1.0-x"),
        ] {
            assert_eq!(full(text), expected);
            assert_eq!(full(expected), expected);
        }
    }

    #[test]
    fn a_digest_takes_precedence_and_the_tag_is_kept() {
        let both: Reference = format!("localhost:5000/a/b:tag@{DIGEST}").parse().unwrap();
        assert_eq!(
            (both.tag(), both.manifest_name(), both.digest().is_some()),
            (Some("tag"), DIGEST.to_owned(), true)
        );
        let pinned: Reference = format!("[::1]:5000/a@{DIGEST}").parse().unwrap();
        assert_eq!((pinned.tag(), pinned.to_string()), (None, format!("[::1]:5000/a@{DIGEST}")));
    }

    #[test]
    fn reports_the_violated_rule() {
        for (text, expected) in [
            ("", "it is empty"),
            ("https://registry.example.com/erp", "a scheme"),
            ("registry.example.com/erp :1", "white space"),
            ("registry.example.com/ERP:1", "lower case"),
            ("Frappe/erpnext", "lower case"),
            ("registry.example.com/erp:", "its tag"),
            ("registry.example.com/erp:.x", "its tag"),
            ("registry.example.com/erp:größe", "its tag"),
            ("registry.example.com/erp@sha256:12", "its digest"),
            ("registry.example.com/erp@md5:12", "its digest"),
            ("[::1:5000/erp", "its host"),
            ("[::1]:99999/erp", "its host"),
            ("registry.example.com/a//b", "joined by"),
        ] {
            let error = text.parse::<Reference>().expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_hostile_reference_does_not_flood_the_message() {
        let error = "\u{1b}[31mX".repeat(10_000).parse::<Reference>().unwrap_err().to_string();
        assert!(error.len() < 500 && !error.contains('\u{1b}'));
    }
}
