//! One file of credentials, in the form that docker's `config.json` and podman's `auth.json`
//! share.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use carafe_builder::secret::Secret;
use serde::Deserialize;

use super::{Credential, Problem, credential_helper};
use crate::registry::reference::Repository;

/// A larger file is none of docker's or podman's.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Docker Hub, and the other names that it has in such files.
const HUB: &str = "docker.io";
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// The name under which a helper of docker's keeps its login.
const HUB_KEY: &str = "https://index.docker.io/v1/";

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

/// What a login left. All empty where a helper has it.
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

/// What the file has for `repository`: its registry's own helper, else the entry that names the
/// longest part of its name, else the helper for all registries. None if nothing is there, or
/// the file is not.
pub(super) fn find(path: &Path, repository: &Repository) -> Result<Option<Credential>, Problem> {
    let Some(document) = read(path)? else { return Ok(None) };
    let registry = repository.registry();
    let own = document.cred_helpers.iter().find(|(key, _)| host(key) == registry);
    if let Some((key, helper)) = own.filter(|(_, helper)| !helper.is_empty())
        && let Some(credential) = credential_helper::ask(helper, key)?
    {
        return Ok(Some(credential));
    }
    if let Some(entry) = nearest(&document.auths, repository)
        && let Some(credential) = entry.credential()?
    {
        return Ok(Some(credential));
    }
    match document.creds_store.filter(|helper| !helper.is_empty()) {
        Some(helper) => credential_helper::ask(&helper, if registry == HUB { HUB_KEY } else { registry }),
        None => Ok(None),
    }
}

fn read(path: &Path) -> Result<Option<Document>, Problem> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Problem(error.to_string())),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(|error| Problem(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Problem(format!("the file is over {MAX_FILE_BYTES} bytes")));
    }
    // podman makes the file before it writes it.
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    // The cause may quote a secret: its place says enough.
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        Problem(format!("it is no JSON of docker's form at line {}, column {}", error.line(), error.column()))
    })
}

/// The entry whose key is the longest part of the repository's name, at its slashes; of those for
/// one host the first that has something.
fn nearest<'a>(auths: &'a BTreeMap<String, Entry>, repository: &Repository) -> Option<&'a Entry> {
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

/// A key without what older versions of docker wrote around the host, and with Docker Hub's own
/// name: `https://index.docker.io/v1/` is `docker.io`. A path without a scheme is a part of a
/// registry.
fn scope(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let key = match bare {
        Some(url) => url.split('/').next().unwrap_or_default(),
        None => key.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2"),
    };
    let (host, path) = key.find('/').map_or((key, ""), |slash| key.split_at(slash));
    let host = if HUB_ALIASES.contains(&host) { HUB } else { host };
    format!("{host}{path}")
}

fn host(key: &str) -> String {
    let scope = scope(key);
    scope.split('/').next().unwrap_or_default().to_owned()
}

impl Entry {
    fn is_empty(&self) -> bool {
        [&self.auth, &self.username, &self.password, &self.identitytoken].iter().all(|text| text.is_empty())
    }

    fn credential(&self) -> Result<Option<Credential>, Problem> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::IdentityToken(Secret::new(&self.identitytoken))));
        }
        if !self.auth.is_empty() {
            let (user, password) = decode(&self.auth)
                .ok_or_else(|| Problem("`auth` is no base64 of `user:password`".to_owned()))?;
            return Ok(Some(Credential::Password { user, password }));
        }
        if self.username.is_empty() || self.password.is_empty() {
            return Err(Problem("an entry has only one of `username` and `password`".to_owned()));
        }
        let (user, password) = (self.username.clone(), Secret::new(&self.password));
        Ok(Some(Credential::Password { user, password }))
    }
}

/// A user has no colon; a password may. Some versions of docker ended it with a zero byte.
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

    fn look(json: &str, name: &str) -> Result<Option<Credential>, Problem> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        let reference: crate::registry::Reference = name.parse().unwrap();
        find(&path, reference.repository())
    }

    fn user(json: &str, name: &str) -> Option<String> {
        match look(json, name).unwrap()? {
            Credential::Password { user, .. } => Some(user),
            Credential::IdentityToken(token) => Some(format!("token {}", token.expose())),
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
    fn a_password_may_have_colons_and_a_user_a_dollar() {
        let expected = Credential::Password { user: "robot$erp".into(), password: Secret::new("pa:ss") };
        assert_eq!(look(CONFIG, "a.example.com:5000/x").unwrap(), Some(expected));
    }

    #[test]
    fn the_longest_part_of_the_name_wins() {
        let found = |name: &str| user(CONFIG, &format!("b.example.com/{name}"));
        assert_eq!(found("team/repo").as_deref(), Some("repo"));
        assert_eq!(found("team/repo/deeper").as_deref(), Some("repo"));
        assert_eq!(found("team/repository").as_deref(), Some("team"));
        assert_eq!(found("teams/repo").as_deref(), Some("any"));
    }

    #[test]
    fn old_keys_and_docker_hubs_aliases_are_known() {
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
    fn another_registry_and_an_empty_entry_have_nothing() {
        for name in ["a.example.com/x", "empty.example.com/x", "xb.example.com/team"] {
            assert_eq!(user(CONFIG, name), None, "{name}");
        }
        assert_eq!((user("{}", "a.io/x"), user(" \n", "a.io/x")), (None, None));
    }

    #[test]
    fn what_is_broken_is_said_and_not_quoted() {
        for json in [
            "{",
            r#"{"auths":{"a.io":{"auth":"!s3cret"}}}"#,
            r#"{"auths":{"a.io":"s3cret"}}"#,
            r#"{"auths":{"a.io":{"username":"s3cret"}}}"#,
        ] {
            let Problem(reason) = look(json, "a.io/x").unwrap_err();
            assert!(!reason.contains("s3cret"), "{reason}");
        }
    }
}
