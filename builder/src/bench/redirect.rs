//! The URL that bench clones each app from: the public one, which git replaces by a local repository.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;
use url::Url;

use super::paths::HOME_DIR;
use crate::git::RefKind;
use crate::lock::{LockedApp, LockedSource};

/// The branch of an app that is locked without a branch or tag, or with a name that bench does not
/// support.
const FIXED_BRANCH: &str = "carafe";

/// A host name that does not resolve (RFC 2606), for apps without a public URL.
const UNRESOLVABLE: &str = "https://carafe.invalid";

/// How bench clones an app.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Redirect {
    /// The app's name.
    pub name: String,
    /// The URL that bench clones. It is unique, and no prefix of another app's.
    pub url: String,
    /// The branch or tag that bench clones.
    pub branch: String,
}

impl Redirect {
    /// The path of the app's repository in the sandbox.
    pub fn repository(&self) -> String {
        format!("{HOME_DIR}/.carafe/apps/{}.git", self.name)
    }
}

/// The branch or tag under which an app's commit must be published for bench: the lock's, or a fixed
/// branch if the lock has none or one that would break bench's command lines.
pub fn published_ref(app: &LockedApp) -> (RefKind, String) {
    match &app.source {
        LockedSource::Git { reference: Some((kind, name)), .. } if is_plain(name, "._/+@-") => {
            (*kind, name.clone())
        }
        _ => (RefKind::Branch, FIXED_BRANCH.to_owned()),
    }
}

/// How bench clones each app.
///
/// The public URL is kept if bench supports it: bench splits command lines like a shell, requires an
/// organization and a repository, and clones into a directory with the repository's name up to the
/// first dot. That directory must not be another app's.
pub(super) fn redirects<'a>(apps: impl Iterator<Item = &'a LockedApp> + Clone) -> Vec<Redirect> {
    let mut directories = BTreeSet::new();
    let names: BTreeSet<&str> = apps.clone().map(|app| app.name.as_str()).collect();
    let redirect = |app: &'a LockedApp| {
        let public = match &app.source {
            LockedSource::Git { url, .. } => PublicUrl::parse(url),
            LockedSource::Local { .. } => None,
        };
        let public = public.filter(|public| {
            let is_another_app = public.repository != app.name && names.contains(public.repository.as_str());
            !is_another_app && directories.insert(public.repository.clone())
        });
        let url = public
            .map_or_else(|| format!("{UNRESOLVABLE}/apps/{}.git", app.name), |public| public.to_string());
        Redirect { name: app.name.clone(), url, branch: published_ref(app).1 }
    };
    apps.map(redirect).collect()
}

/// git's configuration in the sandbox. Every app's URL ends in `.git` and has no other dot after its
/// host, so that `insteadOf`, which replaces prefixes, matches only that app.
pub(super) fn git_config(redirects: &[Redirect]) -> String {
    let mut config = "[safe]\n\tdirectory = *\n\
        [protocol \"file\"]\n\tallow = always\n\
        [advice]\n\tdetachedHead = false\n"
        .to_owned();
    for redirect in redirects {
        let (repository, url) = (redirect.repository(), &redirect.url);
        let _ = write!(config, "[url \"file://{repository}\"]\n\tinsteadOf = {url}\n");
    }
    config
}

/// bench's apps.json: all apps except frappe.
pub(super) fn apps_json(redirects: &[Redirect]) -> String {
    #[derive(Serialize)]
    struct App<'a> {
        url: &'a str,
        branch: &'a str,
    }
    let apps: Vec<_> =
        redirects.iter().skip(1).map(|app| App { url: &app.url, branch: &app.branch }).collect();
    serde_json::to_string(&apps).expect("strings serialize")
}

/// `https://<host>/<directories>/<repository>.git`.
struct PublicUrl {
    host: String,
    directories: Vec<String>,
    repository: String,
}

impl PublicUrl {
    /// Parses any form of git URL with a host. `None` if bench does not support the result.
    fn parse(url: &str) -> Option<Self> {
        let (host, path) = match Url::parse(url) {
            Ok(url) if matches!(url.scheme(), "http" | "https" | "ssh" | "git") => {
                (url.host_str()?.to_owned(), url.path().to_owned())
            }
            Ok(_) => return None,
            Err(_) => scp_like(url)?,
        };
        let path = path.trim_matches('/');
        let mut directories: Vec<String> =
            path.strip_suffix(".git").unwrap_or(path).split('/').map(str::to_owned).collect();
        let repository = directories.pop()?;
        let plain =
            is_plain(&host, ".-") && directories.iter().chain([&repository]).all(|part| is_plain(part, "_-"));
        (plain && !directories.is_empty()).then_some(Self { host, directories, repository })
    }
}

impl std::fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}/{}/{}.git", self.host, self.directories.join("/"), self.repository)
    }
}

/// Host and path of a URL such as `git@github.com:frappe/hrms.git`.
fn scp_like(url: &str) -> Option<(String, String)> {
    let (host, path) = url.split_once(':')?;
    let host = host.rsplit('@').next().unwrap_or(host);
    (!host.contains('/')).then(|| (host.to_owned(), path.to_owned()))
}

/// Whether it has only letters, digits and `marks`, which no shell, glob or option parser interprets.
fn is_plain(text: &str, marks: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && text.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::sample;

    fn app(name: &str, url: &str, branch: &str) -> LockedApp {
        let reference = (!branch.is_empty()).then(|| (RefKind::Tag, branch.to_owned()));
        LockedApp {
            name: name.into(),
            source: LockedSource::Git { url: url.into(), reference },
            ..sample().apps[0].clone()
        }
    }

    fn urls(apps: &[(&str, &str)]) -> Vec<String> {
        let apps: Vec<_> = apps.iter().map(|(name, url)| app(name, url, "")).collect();
        redirects(apps.iter()).into_iter().map(|redirect| redirect.url).collect()
    }

    #[test]
    fn normalizes_public_urls() {
        for url in [
            "https://github.com/frappe/hrms",
            "https://github.com/frappe/hrms.git/",
            "https://me:token@github.com:443/frappe/hrms.git",
            "ssh://git@github.com:22/frappe/hrms.git",
            "git@github.com:frappe/hrms.git",
        ] {
            assert_eq!(urls(&[("hrms", url)]), ["https://github.com/frappe/hrms.git"], "{url}");
        }
        let nested = "https://gitlab.example.com/a/b/c/shop";
        assert_eq!(urls(&[("shop", nested)]), [format!("{nested}.git")]);
    }

    #[test]
    fn replaces_urls_that_bench_does_not_support() {
        for url in [
            "https://example.com/shop",
            "https://example.com/a/shop.v2.git",
            "https://example.com/a b/shop",
            "https://example.com/a/shop'; rm -rf ~; '",
            "https://example.com/a/--upload-pack=x",
            "https://[::1]/a/shop",
            "file:///srv/git/shop.git",
            "/srv/git/shop",
            "../shop",
        ] {
            assert_eq!(urls(&[("shop", url)]), ["https://carafe.invalid/apps/shop.git"], "{url}");
        }
    }

    #[test]
    fn two_apps_never_share_a_url_or_a_directory() {
        let same = ("alpha", "https://example.com/x/apps");
        assert_eq!(
            urls(&[same, ("beta", "https://example.com/x/apps")])[1],
            "https://carafe.invalid/apps/beta.git"
        );
        // The second one would be cloned into `alpha`, the directory of the first one.
        let taken = urls(&[("alpha", "https://example.com/x/one"), ("beta", "https://example.com/x/alpha")]);
        assert_eq!(taken[1], "https://carafe.invalid/apps/beta.git");
    }

    #[test]
    fn no_url_is_a_prefix_of_another() {
        let apps = urls(&[
            ("frappe", "https://example.com/frappe/frappe"),
            ("frappe_x", "https://example.com/frappe/frappe_x"),
        ]);
        assert!(!apps[1].starts_with(&apps[0]));
    }

    #[test]
    fn replaces_branches_that_bench_does_not_support() {
        let branch = |name: &str| published_ref(&app("shop", "https://example.com/a/shop", name));
        assert_eq!(branch("v15.55.1"), (RefKind::Tag, "v15.55.1".into()));
        assert_eq!(branch("feat/x+1"), (RefKind::Tag, "feat/x+1".into()));
        for name in ["", "it's", "a b", "$(x)", "-x"] {
            assert_eq!(branch(name), (RefKind::Branch, FIXED_BRANCH.into()), "{name}");
        }
        assert_eq!(published_ref(&sample().apps[1]).1, FIXED_BRANCH);
    }

    #[test]
    fn configuration_of_git_and_bench() {
        let apps = [app("frappe", "https://github.com/frappe/frappe", "v15.55.1"), sample().apps[1].clone()];
        let redirects = redirects(apps.iter());
        insta::assert_snapshot!(format!("{}\n{}", git_config(&redirects), apps_json(&redirects)));
    }
}
