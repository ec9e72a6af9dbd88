//! Other mirrors for the same bytes.

use super::public_url::{BadUrl, PublicUrl};

/// A part of the public address space that is fetched from elsewhere: an address that starts with
/// `from` is asked at `to`, with the rest unchanged. By address alone: a mirror that knows
/// packages by name and version may have another one of the same name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    from: PublicUrl,
    to: PublicUrl,
}

/// A mirror that cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum BadMirror {
    /// One of the two is no address.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Url(#[from] BadUrl),
    /// One would turn `https://host.example` into the host `host.example.evil`.
    #[error("failed to use `{url}` as a mirror's prefix: it must end with a slash and have no query")]
    #[diagnostic(help("write it with a slash at its end"))]
    NoPrefix {
        /// Which.
        url: PublicUrl,
    },
}

impl Mirror {
    /// Of two addresses that end with a slash. A credential does not belong into them.
    pub fn new(from: &str, to: &str) -> Result<Self, BadMirror> {
        let prefix = |text: &str| -> Result<PublicUrl, BadMirror> {
            let url: PublicUrl = text.parse()?;
            if url.as_url().query().is_some() || !url.as_str().ends_with('/') {
                return Err(BadMirror::NoPrefix { url });
            }
            Ok(url)
        };
        Ok(Self { from: prefix(from)?, to: prefix(to)? })
    }

    /// The public prefix.
    pub fn from(&self) -> &PublicUrl {
        &self.from
    }

    /// Where it is fetched from.
    pub fn to(&self) -> &PublicUrl {
        &self.to
    }

    /// Where the mirrors have `url`: that of the longest prefix that fits, itself if none does.
    pub fn locate(mirrors: &[Self], url: &PublicUrl) -> PublicUrl {
        translate(mirrors.iter().map(|mirror| (&mirror.from, &mirror.to)), url)
    }

    /// The public address of what a mirror has at `url`: the inverse of [`locate`](Self::locate).
    pub fn publish(mirrors: &[Self], url: &PublicUrl) -> PublicUrl {
        translate(mirrors.iter().map(|mirror| (&mirror.to, &mirror.from)), url)
    }
}

fn translate<'a>(
    prefixes: impl Iterator<Item = (&'a PublicUrl, &'a PublicUrl)>,
    url: &PublicUrl,
) -> PublicUrl {
    let fits = |(from, to): (&'a PublicUrl, &'a PublicUrl)| {
        url.as_str().strip_prefix(from.as_str()).map(|rest| (from.as_str().len(), to, rest))
    };
    let longest = prefixes.filter_map(fits).max_by_key(|(length, ..)| *length);
    let translated = longest.and_then(|(_, to, rest)| format!("{to}{rest}").parse().ok());
    translated.unwrap_or_else(|| url.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_there_is_a_way_back() {
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
    fn a_prefix_ends_with_a_slash() {
        assert!(Mirror::new("https://pypi.org/simple", "https://nexus.corp/").is_err());
        assert!(Mirror::new("https://pypi.org/", "https://nexus.corp/?q=").is_err());
        assert!(Mirror::new("git@github.com:", "https://nexus.corp/").is_err());
    }
}
