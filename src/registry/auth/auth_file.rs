//! One file with credentials, in the format of docker's `config.json` and podman's `auth.json`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use carafe_builder::net::{Credential, docker_hub};
use carafe_builder::secret::Secret;
use serde::Deserialize;

use super::credential_helper::{self, LookupError};
use crate::registry::reference::Repository;

/// Maximum size of a file.
const MAX_FILE_BYTES: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

/// The result of a login. All fields are empty if a helper has it.
#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

/// The credential for `repository` in a file: that of its registry's own helper, else of the entry
/// with the longest prefix of its name, else of the helper for all registries. `None` if there is
/// none, or no file.
pub(super) fn find(path: &Path, repository: &Repository) -> Result<Option<Credential>, LookupError> {
    let Some(document) = read(path)? else { return Ok(None) };
    let registry = repository.registry();
    let own_helper = document.cred_helpers.iter().find(|(key, _)| host(key) == registry);
    if let Some((key, helper)) = own_helper.filter(|(_, helper)| !helper.is_empty())
        && let Some(credential) = credential_helper::get(helper, key)?
    {
        return Ok(Some(credential));
    }
    if let Some(entry) = longest_match(&document.auths, repository)
        && let Some(credential) = entry.credential()?
    {
        return Ok(Some(credential));
    }
    match document.creds_store.filter(|helper| !helper.is_empty()) {
        Some(helper) => credential_helper::get(&helper, docker_hub::credential_key(registry)),
        None => Ok(None),
    }
}

fn read(path: &Path) -> Result<Option<Document>, LookupError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(LookupError(error.to_string())),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(|error| LookupError(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(LookupError("the file is larger than 4 MiB".to_owned()));
    }
    // podman creates the file before it writes it.
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    // The cause may quote a secret, so only its position is shown.
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        LookupError(format!(
            "it does not have the format of docker's config.json at line {}, column {}",
            error.line(),
            error.column()
        ))
    })
}

/// The entry whose key is the longest prefix of the repository's name that ends at a slash; of several
/// with the same prefix, the first that is not empty.
fn longest_match<'a>(auths: &'a BTreeMap<String, Entry>, repository: &Repository) -> Option<&'a Entry> {
    let name = repository.to_string();
    let covers =
        |key: &str| name.strip_prefix(key).is_some_and(|rest| rest.starts_with('/') || rest.is_empty());
    auths
        .iter()
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(key, entry)| (scope(key), entry))
        .filter(|(key, _)| covers(key))
        .fold(None, |best: Option<(String, &Entry)>, next| match best {
            Some(best) if best.0.len() >= next.0.len() => Some(best),
            _ => Some(next),
        })
        .map(|(_, entry)| entry)
}

/// A key as a prefix of repository names: without the URL that older versions of docker wrote around
/// the host, and with the canonical name of Docker Hub. `https://index.docker.io/v1/` is `docker.io`.
/// A path without a scheme is a prefix inside a registry.
fn scope(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let key = match bare {
        Some(url) => url.split('/').next().unwrap_or_default(),
        None => key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2"),
    };
    let (host, path) = key.find('/').map_or((key, ""), |slash| key.split_at(slash));
    format!("{}{path}", docker_hub::canonical_host(host))
}

fn host(key: &str) -> String {
    let scope = scope(key);
    scope.split('/').next().unwrap_or_default().to_owned()
}

impl Entry {
    fn is_empty(&self) -> bool {
        [&self.auth, &self.username, &self.password, &self.identitytoken].iter().all(|text| text.is_empty())
    }

    fn credential(&self) -> Result<Option<Credential>, LookupError> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::IdentityToken(Secret::new(&self.identitytoken))));
        }
        if !self.auth.is_empty() {
            let (user, password) = decode(&self.auth)
                .ok_or_else(|| LookupError("`auth` is not base64 of `user:password`".to_owned()))?;
            return Ok(Some(Credential::Basic { user, password }));
        }
        if self.username.is_empty() || self.password.is_empty() {
            return Err(LookupError("an entry has only one of `username` and `password`".to_owned()));
        }
        let (user, password) = (self.username.clone(), Secret::new(&self.password));
        Ok(Some(Credential::Basic { user, password }))
    }
}

/// A user name has no colon, a password may have one. Some versions of docker append a NUL byte.
fn decode(auth: &str) -> Option<(String, Secret)> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    let text = String::from_utf8(engine.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), Secret::new(password.trim_end_matches('\0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(json: &str, name: &str) -> Result<Option<Credential>, LookupError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        let reference: crate::registry::Reference = name.parse().unwrap();
        find(&path, reference.repository())
    }

    fn user(json: &str, name: &str) -> Option<String> {
        match find_in(json, name).unwrap()? {
            Credential::Basic { user, .. } => Some(user),
            Credential::IdentityToken(token) => Some(format!("token {}", token.expose())),
            other => panic!("{other:?}"),
        }
    }

    // "robot$erp:pa:ss", "team:x", "repo:x", "any:x".
    const CONFIG: &str = r#"{"auths": {
        "a.example.com:5000": {"auth": "cm9ib3QkZXJwOnBhOnNz"},
        "b.example.com": {"auth": "YW55Ong="},
        "b.example.com/team": {"auth": "dGVhbTp4"},
        "b.example.com/team/repo": {"auth": "cmVwbzp4"},
        "https://old.example.com/v1/": {"username": "old", "password": "x"},
        "empty.example.com": {},
        "https://index.docker.io/v1/": {"identitytoken": "refresh", "auth": "eDp5"}}}"#;

    #[test]
    fn a_password_may_have_colons_and_a_user_name_a_dollar_sign() {
        let expected = Credential::Basic { user: "robot$erp".into(), password: Secret::new("pa:ss") };
        assert_eq!(find_in(CONFIG, "a.example.com:5000/x").unwrap(), Some(expected));
    }

    #[test]
    fn the_longest_matching_prefix_applies() {
        let found = |name: &str| user(CONFIG, &format!("b.example.com/{name}"));
        assert_eq!(found("team/repo").as_deref(), Some("repo"));
        assert_eq!(found("team/repo/deeper").as_deref(), Some("repo"));
        assert_eq!(found("team/repository").as_deref(), Some("team"));
        assert_eq!(found("teams/repo").as_deref(), Some("any"));
    }

    #[test]
    fn accepts_old_keys_and_aliases_of_docker_hub() {
        assert_eq!(user(CONFIG, "old.example.com/a").as_deref(), Some("old"));
        for name in ["debian", "docker.io/frappe/base", "index.docker.io/frappe/base"] {
            assert_eq!(user(CONFIG, name).as_deref(), Some("token refresh"), "{name}");
        }
        for key in ["docker.io", "index.docker.io", "registry-1.docker.io", "https://docker.io"] {
            assert_eq!(
                user(&format!(r#"{{"auths":{{"{key}":{{"auth":"YW55Ong"}}}}}}"#), "x").unwrap(),
                "any"
            );
        }
        let part = r#"{"auths":{"docker.io/frappe":{"auth":"YW55Ong="}}}"#;
        assert_eq!((user(part, "frappe/base").as_deref(), user(part, "debian")), (Some("any"), None));
    }

    #[test]
    fn other_registries_and_empty_entries_have_no_credential() {
        for name in ["a.example.com/x", "empty.example.com/x", "xb.example.com/team"] {
            assert_eq!(user(CONFIG, name), None, "{name}");
        }
        assert_eq!((user("{}", "a.io/x"), user(" \n", "a.io/x")), (None, None));
    }

    #[test]
    fn errors_do_not_quote_the_file() {
        for json in [
            "{",
            r#"{"auths":{"a.io":{"auth":"!s3cret"}}}"#,
            r#"{"auths":{"a.io":"s3cret"}}"#,
            r#"{"auths":{"a.io":{"username":"s3cret"}}}"#,
        ] {
            let LookupError(reason) = find_in(json, "a.io/x").unwrap_err();
            assert!(!reason.contains("s3cret"), "{reason}");
        }
    }
}
