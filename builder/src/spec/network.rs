//! Where this machine's network has what is public, and what opens it: `[mirrors]` and `[network]`
//! of the spec and of the user's own config file.
//!
//! None of it says what is built, so none of it is part of the spec's checksum or the lock, and the
//! record holds public addresses alone. A refused host is there with the answer that it got.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::app_url::{Environment, expand};
use super::load::read_text;
use super::{AppSource, AppSpec, Origin, SpecError, refused_hosts};
use crate::git::{self, Remote, Transport};
use crate::net::{Credential, Mirror, PublicUrl};
use crate::secret::Secret;

/// The user's config file, in the directory that `XDG_CONFIG_HOME` names, else in `~/.config`.
const CONFIG_FILE: &str = "carafe/config.toml";

/// How the outside is reached.
#[derive(Clone, Default, Debug)]
pub struct Network {
    /// Other mirrors for the same addresses; the longest prefix that fits wins.
    pub mirrors: Vec<Mirror>,
    /// What opens a host (`host` or `host:port`).
    pub credentials: BTreeMap<String, Credential>,
    /// Hosts (`host` or `host:port`) that a build may reach although their address is a private one.
    pub private_hosts: BTreeSet<String>,
    /// Names of hosts that a build does without: all that it asks them is answered with 404.
    pub refused_hosts: BTreeSet<String>,
}

/// `[mirrors]`, as it is written.
pub(super) type MirrorTable = BTreeMap<Spanned<String>, Spanned<String>>;

/// The user's config file, as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    mirrors: MirrorTable,
    #[serde(default)]
    network: NetworkTable,
}

/// `[network]`, as it is written.
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
    /// What the user's own config file says; nothing if there is none.
    pub fn of_user(env: Environment) -> Result<Self, SpecError> {
        let Some(path) = config_path(env).filter(|path| path.exists()) else { return Ok(Self::default()) };
        let text = read_text(&path)?;
        let whole = Origin::whole(&path.display().to_string(), &text);
        let Config { mirrors, network } = toml::from_str(&text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            whole
                .at(span)
                .error(error.message(), "it has `[mirrors]` and `[network]`: docs/spec.md lists their keys")
        })?;
        Self::read(&mirrors, &network, &whole, env)
    }

    /// Checks what is written; `whole` is the text it stands in.
    pub(super) fn read(
        mirrors: &MirrorTable,
        table: &NetworkTable,
        whole: &Origin,
        env: Environment,
    ) -> Result<Self, SpecError> {
        let mirrors = mirrors.iter().map(|(from, to)| {
            let origin = whole.at(to.span());
            Mirror::new(from.get_ref(), to.get_ref()).map_err(|error| origin.wrap(error))
        });
        let credentials = table.credentials.iter().map(|(host, credential)| {
            let origin = whole.at(host.span());
            Ok((check_host(host.get_ref(), &origin)?, credential.read(&origin, env)?))
        });
        let hosts = table.private_hosts.iter();
        let hosts = hosts.map(|host| check_host(host.get_ref(), &whole.at(host.span())));
        let network = Self {
            mirrors: mirrors.collect::<Result<_, _>>()?,
            credentials: credentials.collect::<Result<_, SpecError>>()?,
            private_hosts: hosts.collect::<Result<_, _>>()?,
            refused_hosts: BTreeSet::new(),
        };
        Ok(Self { refused_hosts: refused_hosts::read(&table.refused_hosts, &network, whole)?, ..network })
    }

    /// Both; where they differ about an address or a host, `nearer` is right.
    pub fn with(mut self, nearer: Self) -> Self {
        self.mirrors.retain(|mirror| nearer.mirrors.iter().all(|other| other.from() != mirror.from()));
        self.refused_hosts.retain(|host| nearer.leads_to(host).is_none());
        self.refused_hosts.extend(nearer.refused_hosts);
        self.mirrors.extend(nearer.mirrors);
        self.credentials.extend(nearer.credentials);
        self.private_hosts.extend(nearer.private_hosts);
        self
    }

    /// The apps, where this network has them.
    pub(super) fn locate_all(&self, apps: Vec<AppSpec>) -> Result<Vec<AppSpec>, SpecError> {
        let locate = |mut app: AppSpec| {
            if let AppSource::Git { remote, .. } = &mut app.source {
                **remote = self.locate(Remote::clone(remote)).map_err(|error| app.origin.wrap(error))?;
            }
            Ok(app)
        };
        apps.into_iter().map(locate).collect()
    }

    /// A repository where this network has it, with what opens it there. A credential of the
    /// public address is not sent to a mirror.
    fn locate(&self, remote: Remote) -> Result<Remote, git::RemoteError> {
        let Transport::Http { .. } = remote.transport() else { return Ok(remote) };
        let Ok(public) = remote.url().parse::<PublicUrl>() else { return Ok(remote) };
        let place = Mirror::locate(&self.mirrors, &public);
        let remote = if place == public { remote } else { remote.located_at(place.as_str())? };
        if remote.credential().is_some() {
            return Ok(remote);
        }
        let with_port = format!("{}:{}", place.host(), place.port());
        let credential = self.credentials.get(&with_port).or_else(|| self.credentials.get(place.host()));
        Ok(match credential {
            None => remote,
            Some(Credential::Basic { user, password }) => {
                remote.with_credential(git::Credential::new(user, password.clone())?)
            }
            Some(Credential::Bearer(token) | Credential::IdentityToken(token)) => {
                remote.with_credential(git::Credential::token(token.clone())?)
            }
        })
    }

    /// Everything in it that nobody may see.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        self.credentials.values().flat_map(Credential::secrets)
    }
}

impl CredentialTable {
    fn read(&self, origin: &Origin, env: Environment) -> Result<Credential, SpecError> {
        // Errors show lines of the file, and files are shared.
        let secret =
            |text: &str| match text.contains("${") {
                true => expand(text, origin, env).map(Secret::new),
                false => Err(origin
                    .error("a secret stands in the file itself", "write `${NAME}` and set that variable")),
            };
        match (&self.username, &self.password, &self.token) {
            (Some(user), Some(password), None) => {
                Ok(Credential::Basic { user: expand(user, origin, env)?, password: secret(password)? })
            }
            (None, None, Some(token)) => Ok(Credential::Bearer(secret(token)?)),
            _ => {
                let help = "write `username` and `password`, or `token`; `${NAME}` stands for an environment variable";
                Err(origin.error("a credential is either a name and a password, or a token", help))
            }
        }
    }
}

/// `host` or `host:port`, as it stands in an address.
fn check_host(text: &str, origin: &Origin) -> Result<String, SpecError> {
    let url: Option<PublicUrl> = format!("http://{text}/").parse().ok();
    let is_alone = url.is_some_and(|url| url.as_url().path() == "/" && !text.contains(['@', '/', '?', '#']));
    match is_alone {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(origin.error("no host", "write it as \"git.example.com\" or \"git.example.com:8443\"")),
    }
}

fn config_path(env: Environment) -> Option<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let directory = set("XDG_CONFIG_HOME").map(PathBuf::from);
    let directory = directory.or_else(|| Some(Path::new(&set("HOME")?).join(".config")))?;
    Some(directory.join(CONFIG_FILE))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn read(text: &str) -> Result<Network, SpecError> {
        let config: Config = toml::from_str(text).unwrap();
        let env = |name: &str| (name == "TOKEN").then(|| "s3cr3t".to_owned());
        Network::read(&config.mirrors, &config.network, &Origin::whole("carafe.toml", text), &env)
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
    fn a_repository_is_fetched_from_its_mirror_with_what_opens_that() {
        let network = read(TEXT).unwrap();
        let public = Remote::parse("https://me:hunter22@github.com/frappe/frappe").unwrap();
        let there = network.locate(public).unwrap();
        assert_eq!(there.url(), "https://github.com/frappe/frappe");
        assert_eq!(there.location(), "https://git.corp:8443/hub/frappe/frappe");
        let origin = "https://git.corp:8443".to_owned();
        assert_eq!(there.transport(), &Transport::Http { origin });
        let secrets: Vec<_> = there.secrets().map(|secret| secret.expose().to_owned()).collect();
        assert!(secrets.contains(&"s3cr3t".to_owned()), "{secrets:?}");
        for elsewhere in ["https://gitlab.com/a/b", "git@github.com:frappe/frappe"] {
            let remote = network.locate(Remote::parse(elsewhere).unwrap()).unwrap();
            assert_eq!(remote.location(), elsewhere);
            assert!(remote.credential().is_none());
        }
    }

    #[test]
    fn what_is_nearer_wins() {
        let nearer = read("[mirrors]\n'https://github.com/' = 'https://near/'").unwrap();
        let both = read(TEXT).unwrap().with(nearer);
        assert_eq!(both.mirrors.len(), 1);
        assert_eq!(both.mirrors[0].to().host(), "near");
        assert_eq!((both.credentials.len(), both.private_hosts.len()), (1, 2));
    }

    #[test]
    fn what_cannot_be_used_is_pointed_at() {
        for (text, word) in [
            ("[mirrors]\n'https://a' = 'https://b/'\n'https://c/d' = 'https://e/'", "slash"),
            ("[network]\nprivate-hosts = ['https://a/']", "no host"),
            ("[network.credentials.'a']\nusername = 'b'", "either"),
            ("[network.credentials.'a']\ntoken = '${MISSING}'", "`MISSING` is not set"),
            ("[network.credentials.'a']\ntoken = 'hunter22'", "stands in the file"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(word) && error.starts_with("carafe.toml:"), "{error}");
        }
    }

    #[test]
    fn the_users_own_file_is_read_where_it_lies() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join(".config/carafe");
        std::fs::create_dir_all(&place).unwrap();
        let home = directory.path().display().to_string();
        let env = |name: &str| (name == "HOME").then(|| home.clone());
        assert!(Network::of_user(&env).unwrap().mirrors.is_empty());
        std::fs::write(place.join("config.toml"), "[network]\nprivate-hosts = ['a']").unwrap();
        assert!(Network::of_user(&env).unwrap().private_hosts.contains("a"));
        std::fs::write(place.join("config.toml"), "[networks]").unwrap();
        let error = Network::of_user(&env).unwrap_err().to_string();
        assert!(error.contains("config.toml: unknown field"), "{error}");
    }
}
