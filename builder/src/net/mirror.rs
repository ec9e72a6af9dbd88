//! Mirrors of public servers.

use super::public_url::{InvalidUrl, PublicUrl};

/// A URL that starts with `from` is fetched from `to`, with the rest unchanged. Mirrors work by URL
/// only: by name and version, a mirror may have a different package of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    from: PublicUrl,
    to: PublicUrl,
}

/// A mirror that is not valid.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InvalidMirror {
    /// A prefix is not a URL.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Url(#[from] InvalidUrl),
    /// A prefix without a slash at its end: `https://host.example` would match `host.example.evil`.
    #[error("failed to use `{url}` as the prefix of a mirror: it must end with a slash and have no query")]
    #[diagnostic(help("add a slash at the end"))]
    NotAPrefix {
        /// The prefix.
        url: PublicUrl,
    },
}

impl Mirror {
    /// Both URLs must end with a slash. Credentials in them are dropped.
    pub fn new(from: &str, to: &str) -> Result<Self, InvalidMirror> {
        let prefix = |text: &str| -> Result<PublicUrl, InvalidMirror> {
            let url: PublicUrl = text.parse()?;
            if url.as_url().query().is_some() || !url.as_str().ends_with('/') {
                return Err(InvalidMirror::NotAPrefix { url });
            }
            Ok(url)
        };
        Ok(Self { from: prefix(from)?, to: prefix(to)? })
    }

    /// The public prefix.
    pub fn from(&self) -> &PublicUrl {
        &self.from
    }

    /// The prefix of the mirror.
    pub fn to(&self) -> &PublicUrl {
        &self.to
    }

    /// The URL of `url` on its mirror. The longest matching prefix wins; without one, `url` itself.
    pub fn locate(mirrors: &[Self], url: &PublicUrl) -> PublicUrl {
        translate(mirrors.iter().map(|mirror| (&mirror.from, &mirror.to)), url)
    }

    /// The public URL of the mirror's `url`: the inverse of [`locate`](Self::locate).
    pub fn publish(mirrors: &[Self], url: &PublicUrl) -> PublicUrl {
        translate(mirrors.iter().map(|mirror| (&mirror.to, &mirror.from)), url)
    }
}

fn translate<'a>(
    prefixes: impl Iterator<Item = (&'a PublicUrl, &'a PublicUrl)>,
    url: &PublicUrl,
) -> PublicUrl {
    let matches = |(from, to): (&'a PublicUrl, &'a PublicUrl)| {
        url.as_str().strip_prefix(from.as_str()).map(|rest| (from.as_str().len(), to, rest))
    };
    let longest = prefixes.filter_map(matches).max_by_key(|(length, ..)| *length);
    let translated = longest.and_then(|(_, to, rest)| format!("{to}{rest}").parse().ok());
    translated.unwrap_or_else(|| url.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_publish_is_the_inverse() {
        let mirrors = [
            Mirror::new("https://pypi.org/", "https://nexus.corp/pypi/").unwrap(),
            Mirror::new("https://pypi.org/simple/", "https://nexus.corp/index/").unwrap(),
        ];
        let pairs = [
            ("https://pypi.org/simple/a/?b=c", "https://nexus.corp/index/a/?b=c"),
            ("https://pypi.org/pypi/a/json", "https://nexus.corp/pypi/pypi/a/json"),
            ("https://pypi.org.evil.example/simple/", "https://pypi.org.evil.example/simple/"),
        ];
        for (public, mirrored) in pairs {
            let (public, mirrored) = (public.parse().unwrap(), mirrored.parse().unwrap());
            assert_eq!(Mirror::locate(&mirrors, &public), mirrored);
            assert_eq!(Mirror::publish(&mirrors, &mirrored), public);
        }
    }

    #[test]
    fn a_prefix_must_end_with_a_slash() {
        assert!(Mirror::new("https://pypi.org/simple", "https://nexus.corp/").is_err());
        assert!(Mirror::new("https://pypi.org/", "https://nexus.corp/?q=").is_err());
        assert!(Mirror::new("git@github.com:", "https://nexus.corp/").is_err());
    }
}
