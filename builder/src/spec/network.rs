//! How this machine reaches public servers: `[mirrors]` and `[network]` in the spec and in the user's config file.
//!
//! These settings do not determine what is built. They are not part of the spec's checksum and of the lock, and
//! the recording has public URLs only. A request to a refused host is recorded with its 404 response.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::app::{AppSource, AppSpec};
use super::environment::{Environment, expand_variables};
use super::error::{Origin, SpecError};
use super::refused_hosts::{self, ReachableHosts};
use super::text::read_text;
use crate::git::{self, Remote, Transport};
use crate::net::{Credential, Mirror, PublicUrl};
use crate::secret::Secret;

/// The user's config file, relative to `$XDG_CONFIG_HOME`, else to `~/.config`.
const CONFIG_FILE: &str = "carafe/config.toml";

/// Settings for all connections except those to registries.
#[derive(Clone, Default, Debug)]
pub struct Network {
    /// Mirrors by URL prefix; the longest matching prefix applies.
    pub mirrors: Vec<Mirror>,
    /// Credentials by `host` or `host:port`.
    pub credentials: BTreeMap<String, Credential>,
    /// Hosts (`host` or `host:port`) that a build may reach although their addresses are private.
    pub private_hosts: BTreeSet<String>,
    /// Names of hosts that respond 404 to every request of a build.
    pub refused_hosts: BTreeSet<String>,
}

/// `[mirrors]` as written.
pub(super) type MirrorTable = BTreeMap<Spanned<String>, Spanned<String>>;

/// The user's config file as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    mirrors: MirrorTable,
    #[serde(default)]
    network: NetworkTable,
}

/// `[network]` as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NetworkTable {
    #[serde(default)]
    private_hosts: Vec<Spanned<String>>,
    #[serde(default)]
    refused_hosts: Vec<Spanned<String>>,
    #[serde(default)]
    credentials: BTreeMap<Spanned<String>, CredentialTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialTable {
    username: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

impl Network {
    /// Reads the user's config file. The default settings if there is none.
    pub fn of_user(env: Environment) -> Result<Self, SpecError> {
        let Some(path) = config_path(env).filter(|path| path.exists()) else { return Ok(Self::default()) };
        let text = read_text(&path)?;
        let document = Origin::document(&path.display().to_string(), &text);
        let Config { mirrors, network } = toml::from_str(&text).map_err(|error| {
            let help = "supported tables: `[mirrors]` and `[network]`; docs/spec.md lists their keys";
            document.at(error.span().unwrap_or_default()).syntax_error(error.message(), help)
        })?;
        Self::read(&mirrors, &network, &document, env)
    }

    /// Checks the two tables; `document` is the complete text that contains them.
    pub(super) fn read(
        mirrors: &MirrorTable,
        table: &NetworkTable,
        document: &Origin,
        env: Environment,
    ) -> Result<Self, SpecError> {
        let mirrors = mirrors.iter().map(|(from, to)| {
            let origin = document.at(to.span());
            Mirror::new(from.get_ref(), to.get_ref()).map_err(|error| origin.wrap(error))
        });
        let credentials = table.credentials.iter().map(|(host, credential)| {
            let origin = document.at(host.span());
            Ok((check_host(host.get_ref(), &origin)?, credential.read(&origin, env)?))
        });
        let hosts = table.private_hosts.iter();
        let hosts = hosts.map(|host| check_host(host.get_ref(), &document.at(host.span())));
        let network = Self {
            mirrors: mirrors.collect::<Result<_, _>>()?,
            credentials: credentials.collect::<Result<_, SpecError>>()?,
            private_hosts: hosts.collect::<Result<_, _>>()?,
            refused_hosts: BTreeSet::new(),
        };
        let refused_hosts = refused_hosts::read(&table.refused_hosts, network.reachable(), document)?;
        Ok(Self { refused_hosts, ..network })
    }

    /// Merges the settings; where both have one for the same URL or host, the one of `overrides` applies.
    pub fn merge(mut self, overrides: Self) -> Self {
        self.mirrors.retain(|mirror| overrides.mirrors.iter().all(|other| other.from() != mirror.from()));
        self.refused_hosts.retain(|host| overrides.reachable().setting_of(host).is_none());
        self.refused_hosts.extend(overrides.refused_hosts);
        self.mirrors.extend(overrides.mirrors);
        self.credentials.extend(overrides.credentials);
        self.private_hosts.extend(overrides.private_hosts);
        self
    }

    fn reachable(&self) -> ReachableHosts<'_> {
        ReachableHosts { mirrors: &self.mirrors, private_hosts: &self.private_hosts }
    }

    /// The apps with the mirrors and credentials of this network.
    pub(super) fn locate_all(&self, apps: Vec<AppSpec>) -> Result<Vec<AppSpec>, SpecError> {
        let locate = |mut app: AppSpec| {
            if let AppSource::Git { remote, .. } = &mut app.source {
                **remote = self.locate(Remote::clone(remote)).map_err(|error| app.origin.wrap(error))?;
            }
            Ok(app)
        };
        apps.into_iter().map(locate).collect()
    }

    /// A repository at its mirror, if there is one, with the credential for that host. A credential in the public
    /// URL is not sent to a mirror.
    fn locate(&self, remote: Remote) -> Result<Remote, git::RemoteError> {
        let Transport::Http { .. } = remote.transport() else { return Ok(remote) };
        let Ok(public) = remote.url().parse::<PublicUrl>() else { return Ok(remote) };
        let location = Mirror::locate(&self.mirrors, &public);
        let remote = if location == public { remote } else { remote.located_at(location.as_str())? };
        if remote.has_credential() {
            return Ok(remote);
        }
        let with_port = format!("{}:{}", location.host(), location.port());
        let credential = self.credentials.get(&with_port).or_else(|| self.credentials.get(location.host()));
        match credential {
            None => Ok(remote),
            Some(credential) => remote.with_credential(credential.clone()),
        }
    }

    /// All secrets in these settings.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        self.credentials.values().flat_map(Credential::secrets)
    }
}

impl CredentialTable {
    fn read(&self, origin: &Origin, env: Environment) -> Result<Credential, SpecError> {
        // Literal secrets are rejected: errors show lines of the file, and files are shared.
        let secret = |text: &str| match text.contains("${") {
            true => expand_variables(text, origin, env).map(Secret::new),
            false => {
                let help = "write it as `${NAME}` and set that environment variable";
                Err(origin.error("the secret is written literally in the file", help))
            }
        };
        match (&self.username, &self.password, &self.token) {
            (Some(user), Some(password), None) => Ok(Credential::Basic {
                user: expand_variables(user, origin, env)?,
                password: secret(password)?,
            }),
            (None, None, Some(token)) => Ok(Credential::Bearer(secret(token)?)),
            _ => {
                let help = "write each secret as `${NAME}`, which is replaced by that environment variable";
                Err(origin.error("a credential must have `username` and `password`, or only `token`", help))
            }
        }
    }
}

/// Checks that the text is `host` or `host:port`.
fn check_host(text: &str, origin: &Origin) -> Result<String, SpecError> {
    let url: Option<PublicUrl> = format!("http://{text}/").parse().ok();
    let is_alone = url.is_some_and(|url| url.as_url().path() == "/" && !text.contains(['@', '/', '?', '#']));
    match is_alone {
        true => Ok(text.to_ascii_lowercase()),
        false => {
            let message = format!("`{}` is not a host", text.escape_debug());
            Err(origin.error(message, "write it as \"git.example.com\" or \"git.example.com:8443\""))
        }
    }
}

fn config_path(env: Environment) -> Option<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let directory = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let directory = directory.or_else(|| Some(Path::new(&set("HOME")?).join(".config")))?;
    Some(directory.join(CONFIG_FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Network, SpecError> {
        let config: Config = toml::from_str(text).unwrap();
        let env = |name: &str| (name == "TOKEN").then(|| "s3cr3t".to_owned());
        Network::read(&config.mirrors, &config.network, &Origin::document("carafe.toml", text), &env)
    }

    const TEXT: &str = "
[mirrors]
'https://github.com/' = 'https://git.corp:8443/hub/'
[network]
private-hosts = ['git.corp:8443', '10.0.0.5']
[network.credentials.'git.corp']
token = '${TOKEN}'
";

    #[test]
    fn locates_a_repository_at_its_mirror_with_the_credential_of_that_host() {
        let network = read(TEXT).unwrap();
        let public = Remote::parse("https://me:hunter22@github.com/frappe/frappe").unwrap();
        let located = network.locate(public).unwrap();
        assert_eq!(located.url(), "https://github.com/frappe/frappe");
        assert_eq!(located.location(), "https://git.corp:8443/hub/frappe/frappe");
        let origin = "https://git.corp:8443".to_owned();
        assert_eq!(located.transport(), &Transport::Http { origin });
        let secrets: Vec<_> = located.secrets().map(|secret| secret.expose().to_owned()).collect();
        assert!(secrets.contains(&"s3cr3t".to_owned()), "{secrets:?}");
        for elsewhere in ["https://gitlab.com/a/b", "git@github.com:frappe/frappe"] {
            let remote = network.locate(Remote::parse(elsewhere).unwrap()).unwrap();
            assert_eq!(remote.location(), elsewhere);
            assert!(!remote.has_credential());
        }
    }

    #[test]
    fn overrides_take_precedence() {
        let overrides = read("[mirrors]\n'https://github.com/' = 'https://near/'").unwrap();
        let merged = read(TEXT).unwrap().merge(overrides);
        assert_eq!(merged.mirrors.len(), 1);
        assert_eq!(merged.mirrors[0].to().host(), "near");
        assert_eq!((merged.credentials.len(), merged.private_hosts.len()), (1, 2));
    }

    #[test]
    fn overrides_make_a_refused_host_reachable() {
        let spec = || read("[network]\nrefused-hosts = ['a.example', 'b.example']").unwrap();
        let overrides = read("[mirrors]\n'https://a.example/' = 'https://near/'").unwrap();
        assert_eq!(spec().merge(overrides).refused_hosts, ["b.example".to_owned()].into());
        let overrides = read("[network]\nrefused-hosts = ['c.example']").unwrap();
        assert_eq!(spec().merge(overrides).refused_hosts.len(), 3);
    }

    #[test]
    fn reports_the_position_of_an_invalid_setting() {
        for (text, part) in [
            ("[mirrors]\n'https://a' = 'https://b/'\n'https://c/d' = 'https://e/'", "slash"),
            ("[network]\nprivate-hosts = ['https://a/']", "is not a host"),
            ("[network.credentials.'a']\nusername = 'b'", "must have"),
            ("[network.credentials.'a']\ntoken = '${MISSING}'", "`MISSING` is not set"),
            ("[network.credentials.'a']\ntoken = 'hunter22'", "written literally"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part) && error.starts_with("carafe.toml:"), "{error}");
        }
    }

    #[test]
    fn reads_the_config_file_of_the_user() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join(".config/carafe");
        std::fs::create_dir_all(&config).unwrap();
        let home = directory.path().display().to_string();
        let env = |name: &str| (name == "HOME").then(|| home.clone());
        assert!(Network::of_user(&env).unwrap().mirrors.is_empty());
        std::fs::write(config.join("config.toml"), "[network]\nprivate-hosts = ['a']").unwrap();
        assert!(Network::of_user(&env).unwrap().private_hosts.contains("a"));
        std::fs::write(config.join("config.toml"), "[networks]").unwrap();
        let error = Network::of_user(&env).unwrap_err().to_string();
        assert!(error.contains("config.toml: unknown field"), "{error}");
    }
}
