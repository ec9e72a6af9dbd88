//! The metadata of a package, and what its URL reveals about it.

use carafe_builder::net::PublicUrl;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::material::Kind;

/// A longer license field contains the text of the license, not its name.
const MAX_LICENSE_CHARS: usize = 100;

/// The package that a URL names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Guess {
    pub kind: Kind,
    pub form: Form,
    pub name: Option<String>,
    pub version: Option<String>,
}

/// The archive format of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Zip,
    TarGzip,
}

/// The metadata of a package.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Metadata {
    pub kind: Option<Kind>,
    pub name: Option<String>,
    pub version: Option<String>,
    pub license: Option<String>,
}

impl Guess {
    /// The guess for `url`; `None` if it does not name a package.
    pub fn of(url: &PublicUrl) -> Option<Self> {
        let file = decoded(url.file_name());
        let path = decoded(url.as_url().path());
        let split = |stem: &str| match stem.rsplit_once('-') {
            Some((name, version)) => (Some(name.to_owned()), Some(version.to_owned())),
            None => (Some(stem.to_owned()), None),
        };
        if let Some(stem) = file.strip_suffix(".whl") {
            let mut parts = stem.split('-').map(str::to_owned);
            let (name, version) = (parts.next(), parts.next());
            return Some(Self { kind: Kind::Python, form: Form::Zip, name, version });
        }
        if let Some(stem) = file.strip_suffix(".tgz") {
            let (_, version) = split(stem);
            // registry.npmjs.org/@scope/name/-/name-1.0.0.tgz
            let name = path.split_once("/-/").map(|(name, _)| name.trim_start_matches('/').to_owned());
            let version = match &name {
                Some(name) => {
                    stem.strip_prefix(name.rsplit('/').next()?)?.strip_prefix('-').map(str::to_owned)
                }
                None => version,
            };
            return Some(Self { kind: Kind::Node, form: Form::TarGzip, name, version });
        }
        // codeload.github.com/owner/name/tar.gz/commit
        if let Some((repository, commit)) = path.split_once("/tar.gz/") {
            let name = repository.rsplit('/').next().map(str::to_owned);
            let version = Some(commit.trim_start_matches("refs/tags/").to_owned());
            return Some(Self { kind: Kind::File, form: Form::TarGzip, name, version });
        }
        for (ending, form) in [(".tar.gz", Form::TarGzip), (".zip", Form::Zip)] {
            if let Some(stem) = file.strip_suffix(ending) {
                let (name, version) = split(stem);
                return Some(Self { kind: Kind::File, form, name, version });
            }
        }
        None
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Parses a wheel's METADATA or an sdist's PKG-INFO: headers, then a description.
pub(super) fn python(text: &str) -> Metadata {
    let headers = text.lines().take_while(|line| !line.is_empty());
    let headers: Vec<(&str, &str)> = headers.filter_map(|line| line.split_once(": ")).collect();
    let all = |name: &str| {
        let named = headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim()).collect::<Vec<_>>()
    };
    let first = |name: &str| all(name).first().map(|value| (*value).to_owned());
    let classifiers: Vec<&str> = all("Classifier")
        .into_iter()
        .filter_map(|line| line.strip_prefix("License :: "))
        .filter_map(|line| line.rsplit(" :: ").next())
        .filter(|name| *name != "OSI Approved")
        .collect();
    let license = first("License-Expression")
        .or_else(|| first("License").filter(|text| is_name(text)))
        .or_else(|| (!classifiers.is_empty()).then(|| classifiers.join(", ")));
    Metadata { kind: Some(Kind::Python), name: first("Name"), version: first("Version"), license }
}

fn is_name(license: &str) -> bool {
    !license.is_empty() && license.len() <= MAX_LICENSE_CHARS && !license.eq_ignore_ascii_case("unknown")
}

/// Parses a package.json; `None` if it is malformed.
pub(super) fn node(text: &str) -> Option<Metadata> {
    #[derive(Deserialize)]
    struct Package {
        name: Option<String>,
        version: Option<String>,
        license: Option<Value>,
        licenses: Option<Vec<Value>>,
    }
    let package: Package = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    // Old packages have an object, or a list of objects.
    let named = |value: &Value| {
        value.as_str().or_else(|| value.get("type")?.as_str()).filter(|text| is_name(text)).map(str::to_owned)
    };
    let several = || {
        let names: Vec<String> = package.licenses.iter().flatten().filter_map(named).collect();
        (!names.is_empty()).then(|| names.join(" OR "))
    };
    let license = package.license.as_ref().and_then(named).or_else(several);
    Some(Metadata { kind: Some(Kind::Node), name: package.name, version: package.version, license })
}

/// The license in an app's hooks.py: `app_license = "MIT"`.
pub(super) fn app_license(hooks: &str) -> Option<String> {
    let value = hooks.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == "app_license").then(|| value.trim())
    })?;
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (license, _) = value[1..].split_once(quote)?;
    is_name(license).then(|| license.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(url: &str) -> Option<(Kind, String, String)> {
        let guess = Guess::of(&url.parse().unwrap())?;
        Some((guess.kind, guess.name.unwrap_or_default(), guess.version.unwrap_or_default()))
    }

    #[test]
    fn guesses_packages_from_urls() {
        for (url, kind, name, version) in [
            (
                "https://files.pythonhosted.org/packages/a/b/click-8.1.7-py3-none-any.whl",
                Kind::Python,
                "click",
                "8.1.7",
            ),
            ("https://x/torch-2.0%2Bcpu-cp311-cp311-linux_x86_64.whl", Kind::Python, "torch", "2.0+cpu"),
            ("https://x/GitPython-3.1.tar.gz", Kind::File, "GitPython", "3.1"),
            (
                "https://registry.yarnpkg.com/@vue/shared/-/shared-3.5.1.tgz",
                Kind::Node,
                "@vue/shared",
                "3.5.1",
            ),
            ("https://registry.npmjs.org/a-b/-/a-b-1.0.0-rc.1.tgz", Kind::Node, "a-b", "1.0.0-rc.1"),
            (
                "https://codeload.github.com/frappe/air-datepicker/tar.gz/ed37b94d",
                Kind::File,
                "air-datepicker",
                "ed37b94d",
            ),
        ] {
            assert_eq!(guess(url), Some((kind, name.to_owned(), version.to_owned())), "{url}");
        }
        for url in ["https://pypi.org/simple/click/", "https://x/click-8.whl.metadata", "https://x/vue"] {
            assert_eq!(guess(url), None, "{url}");
        }
    }

    #[test]
    fn reads_the_license_of_a_package() {
        let license = |text: &str| python(text).license;
        let text = "Name: a\nVersion: 1\nLicense: x\nLicense-Expression: MIT\n\nLicense: no\n";
        let metadata = python(text);
        assert_eq!((metadata.name.as_deref(), metadata.version.as_deref()), (Some("a"), Some("1")));
        assert_eq!(metadata.license.as_deref(), Some("MIT"));
        let classifier = "License: UNKNOWN\nClassifier: License :: OSI Approved\n\
                          Classifier: License :: OSI Approved :: BSD License\n";
        assert_eq!(license(classifier).as_deref(), Some("BSD License"));
        assert_eq!(license(&format!("License: {}\n", "x".repeat(200))), None);

        let license = |text: &str| node(text).unwrap().license;
        assert_eq!(license(r#"{"name":"a","license":"MIT"}"#).as_deref(), Some("MIT"));
        assert_eq!(license(r#"{"license":{"type":"ISC"}}"#).as_deref(), Some("ISC"));
        let several = r#"{"licenses":[{"type":"MIT"},{"type":"GPL"}]}"#;
        assert_eq!(license(several).as_deref(), Some("MIT OR GPL"));
        assert_eq!(license(r#"{"license":7}"#), None);
        assert_eq!(node("[]"), None);

        assert_eq!(app_license("app_name = \"a\"\napp_license = \"MIT\"\n").as_deref(), Some("MIT"));
        assert_eq!(app_license("app_license = license()\n"), None);
    }
}
