//! What a registry allows, tried on it: `carafe doctor --registry`. Leaves nothing there.

use bytes::Bytes;
use carafe_layers::digest::Digest;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::Registry;
use super::auth::Authorization;
use super::auth::Identity;
use super::error::{Access, RegistryError, RequestContext};
use super::http::refused;
use super::reference::{Reference, Repository, is_host};
use super::shared::Shared;
use super::upload::{Mount, Session, SessionError};
use crate::check::Check;

/// Every check, in order. Where one fails on which the rest depend, those are skipped.
const CHECKS: [&str; 8] = ["name", "tls", "ca", "auth", "push", "mount", "referrers", "chunks"];
/// What stands for the repository where none was named: nothing is written to it.
const NO_REPOSITORY: &str = "carafe";
/// What proxies are named by.
const PROXIES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// What is to be looked at.
#[derive(Clone, Debug)]
pub enum DoctorTarget {
    /// A registry by its host: reading is all that can be tried.
    Host(Repository),
    /// A repository in it; an image that is there by that name serves to try a mount.
    Image(Reference),
}

impl DoctorTarget {
    /// `host`, `host/repository` or `host/repository:tag`; none if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('/') {
            return text.parse().ok().map(Self::Image);
        }
        let is_bare = is_host(text) && !text.contains('@');
        is_bare.then(|| Repository::parse(&format!("{text}/{NO_REPOSITORY}")).map(Self::Host))?
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        match self {
            Self::Host(repository) => repository,
            Self::Image(reference) => reference.repository(),
        }
    }
}

impl Registry {
    /// Looks at one registry: its name, TLS, CA, who we are there, whether we may push (an upload
    /// is opened and cancelled), mounts, referrers, chunks. Nothing is tried twice, nothing stays.
    pub fn examine(&self, patient: &DoctorTarget) -> Vec<Check> {
        let shared = &self.shared;
        let repository = match shared.mirrors.locate(patient.repository()) {
            Ok(repository) => repository,
            Err(error) => return with_skipped(vec![Check::failed("name", &error)]),
        };
        let (access, action) = match patient {
            DoctorTarget::Host(_) => (Access::Pull, format!("use {}", repository.registry())),
            DoctorTarget::Image(_) => (Access::push([]), format!("use {repository}")),
        };
        let attempt = RequestContext::new(&action, &repository, &access);
        let mut checks = Vec::new();
        let result = shared.block_on(RegistryChecks { shared, attempt, checks: &mut checks }.run(patient));
        checks.extend(result.err());
        with_skipped(checks)
    }
}

fn with_skipped(mut checks: Vec<Check>) -> Vec<Check> {
    let missing = |name: &&str| checks.iter().all(|check| check.name != *name);
    let skipped: Vec<_> = CHECKS.into_iter().filter(|name| missing(name)).collect();
    checks.extend(skipped.into_iter().map(|name| Check::skipped(name, "not tried")));
    checks
}

struct RegistryChecks<'a> {
    shared: &'a Shared,
    attempt: RequestContext<'a>,
    checks: &'a mut Vec<Check>,
}

impl RegistryChecks<'_> {
    /// The error is the check after which no other makes sense.
    async fn run(mut self, patient: &DoctorTarget) -> Result<(), Check> {
        let mut name = self.name().await?;
        if patient.repository() != self.attempt.repository {
            name.message += &format!("; `registries.conf` has {} there", patient.repository());
        }
        self.checks.push(name);
        self.connection().await?;
        let auth = self.auth().await.map_err(|error| Check::failed("auth", &error))?;
        self.checks.push(auth);
        let DoctorTarget::Image(reference) = patient else {
            let message = "name a repository to try: `HOST/PROJECT/NAME`";
            self.checks.push(Check::skipped("push", message));
            return Ok(());
        };
        let push = self.push().await.map_err(|error| Check::failed("push", &error))?;
        self.checks.push(push);
        let image = self.image(reference).await;
        let mount = self.mount(image.as_ref()).await;
        let referrers = self.referrers(image.as_ref()).await;
        let chunks = self.chunks().await;
        self.checks.extend([mount, referrers, chunks]);
        Ok(())
    }

    fn host(&self) -> &str {
        self.attempt.repository.registry()
    }

    fn base(&self) -> String {
        self.shared.client.transports.base(self.host())
    }

    /// A proxy may know names that this machine does not.
    async fn name(&self) -> Result<Check, Check> {
        let url = Url::parse(&self.base()).ok();
        let address = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
        let Some((host, port)) = address else {
            let registry = self.host().to_owned();
            return Err(Check::failed("name", &RegistryError::Host { registry }));
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host((bare, port)).await.map(|mut found| found.next()) {
            Ok(Some(address)) => Ok(Check::pass("name", format!("{host} is {}, port {port}", address.ip()))),
            _ if PROXIES.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) => {
                Ok(Check::warn("name", format!("{host} is not known here; a proxy may know it")))
            }
            Ok(None) => Err(unknown(host, "it has no address")),
            Err(error) => Err(unknown(host, &error.to_string())),
        }
    }

    /// TLS, and whether we trust whom it leads to: one request tells both.
    async fn connection(&mut self) -> Result<(), Check> {
        let (client, is_insecure) =
            (&self.shared.client, self.shared.client.transports.is_insecure(self.host()));
        let answer = match client.transport(&self.attempt) {
            Ok(transport) => {
                let answer = transport.http.get(format!("{}/v2/", self.base())).send().await;
                answer.map_err(|error| self.attempt.transport(error))
            }
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(response) if response.status() == StatusCode::BAD_REQUEST => {
                Err(refused(&self.attempt, client.auth.principal(self.attempt.repository), response).await)
            }
            answer => answer,
        };
        match answer {
            Ok(_) if is_insecure => {
                self.checks.push(Check::pass("tls", "plain http, as it is named insecure"));
                self.checks.push(Check::skipped("ca", "plain http has none"));
            }
            Ok(response) => {
                self.checks.push(Check::pass("tls", format!("https, {:?}", response.version())));
                self.checks.push(Check::pass("ca", format!("its certificate is trusted{}", self.files())));
            }
            Err(error @ (RegistryError::Untrusted { .. } | RegistryError::NoCaBundle(_))) => {
                self.checks.push(Check::pass("tls", "https"));
                return Err(Check::failed("ca", &error));
            }
            Err(error) => return Err(Check::failed("tls", &error)),
        }
        Ok(())
    }

    /// The registry's own PEM files, if it has any.
    fn files(&self) -> String {
        let files = self.shared.client.transports.files(self.host()).unwrap_or_default();
        let client = files.client.iter().map(|(certificate, _)| certificate);
        let names: Vec<_> =
            files.ca.iter().chain(client).map(|path| format!("`{}`", path.display())).collect();
        if names.is_empty() { String::new() } else { format!(", with {}", names.join(", ")) }
    }

    /// A token, or that the registry takes name and password.
    async fn auth(&self) -> Result<Check, RegistryError> {
        let client = &self.shared.client;
        let authorization = client.auth.authorize(&self.attempt).await?;
        let who = Identity::describe(client.auth.identity(self.attempt.repository)?.as_ref());
        match authorization {
            Authorization::None => Ok(Check::pass("auth", "open to everyone")),
            Authorization::Bearer(_) => Ok(Check::pass("auth", format!("a token was given; {who}"))),
            Authorization::Basic(..) => {
                let http = client.transport(&self.attempt)?.http;
                let request = authorization.apply(http.get(format!("{}/v2/", self.base())));
                let response = request.send().await.map_err(|error| self.attempt.transport(error))?;
                match response.status().is_success() {
                    true => Ok(Check::pass("auth", format!("name and password are taken; {who}"))),
                    false => Err(client.refused(&self.attempt, response).await),
                }
            }
        }
    }

    async fn push(&self) -> Result<Check, RegistryError> {
        let session = self.shared.client.open_upload(&self.attempt).await?;
        let left = self.cancel(&session).await;
        Ok(Check::pass("push", format!("an upload to {} was opened{left}", self.attempt.repository)))
    }

    /// How that went, in words.
    async fn cancel(&self, session: &Session) -> &'static str {
        match self.shared.client.cancel_upload(&self.attempt, session).await {
            Ok(()) => " and cancelled",
            Err(_) => "; it takes no cancelling, and will drop that by itself",
        }
    }

    /// The manifest that the name points at, and a blob of it.
    async fn image(&self, reference: &Reference) -> Option<(Digest, Digest)> {
        let client = &self.shared.client;
        let (descriptor, mut bytes) = client.get_manifest(&self.attempt, &reference.asked()).await.ok()?;
        let mut document: Document = serde_json::from_slice(&bytes).ok()?;
        if let Some(first) = document.manifests.first() {
            bytes = client.get_manifest(&self.attempt, &first.digest.to_string()).await.ok()?.1;
            document = serde_json::from_slice(&bytes).ok()?;
        }
        Some((descriptor.digest, document.config?.digest))
    }

    /// From the repository itself, where nothing changes.
    async fn mount(&self, image: Option<&(Digest, Digest)>) -> Check {
        let Some((_, blob)) = image else {
            return Check::skipped("mount", "there is no image of that name to try it with");
        };
        let client = &self.shared.client;
        match client.mount_blob(&self.attempt, *blob, self.attempt.repository).await {
            Ok(Mount::Done) => Check::pass("mount", "a blob is taken from where the registry has it"),
            Ok(Mount::Send(session)) => {
                let left = self.cancel(&session).await;
                Check::warn(
                    "mount",
                    format!("it wants to be sent what it has elsewhere: an upload was opened{left}"),
                )
            }
            Err(error) => as_note(Check::failed("mount", &error)),
        }
    }

    async fn referrers(&self, image: Option<&(Digest, Digest)>) -> Check {
        let subject = image.map_or_else(|| Digest::of(b""), |(manifest, _)| *manifest);
        match self.shared.client.get_referrers(&self.attempt, &subject, "").await {
            Ok(Some(_)) => Check::pass("referrers", "it says what refers to an image"),
            Ok(None) => Check::warn("referrers", "it keeps no track of them: they are listed under a tag"),
            Err(error) => as_note(Check::failed("referrers", &error)),
        }
    }

    /// One byte, as a chunk of an upload that is cancelled.
    async fn chunks(&self) -> Check {
        let client = &self.shared.client;
        let mut session = match client.open_upload(&self.attempt).await {
            Ok(session) => session,
            Err(error) => return Check::failed("chunks", &error),
        };
        let smallest = session.min_chunk;
        let sent = client.send_chunk(&self.attempt, &mut session, 0, Bytes::from_static(b"x")).await;
        self.cancel(&session).await;
        match sent {
            Ok(()) if smallest > 1 => Check::pass("chunks", format!("taken, of at least {smallest} bytes")),
            Ok(()) => Check::pass("chunks", "taken, of any size"),
            Err(SessionError::Failed(error)) => Check::failed("chunks", &error),
            Err(SessionError::NoChunks) => {
                Check::warn("chunks", "not taken: a blob is sent in one request, and anew after a failure")
            }
            Err(SessionError::Lost | SessionError::Elsewhere) => Check::fail(
                "chunks",
                "an upload that was just opened is not known any more",
                "instances behind one name need one storage and one secret (`http.secret`)",
            ),
        }
    }
}

/// Of a manifest or an index, what leads to a blob.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Named>,
    config: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    digest: Digest,
}

/// What carafe can do without.
fn as_note(check: Check) -> Check {
    Check { help: None, ..Check::warn(check.name, check.message) }
}

fn unknown(host: &str, reason: &str) -> Check {
    let help = "check the spelling, and this machine's DNS; behind a proxy set HTTPS_PROXY";
    Check::fail("name", format!("{host} is not known: {reason}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patient_is_a_host_or_a_repository() {
        let parse = |text: &str| DoctorTarget::parse(text).map(|patient| patient.repository().to_string());
        assert!(matches!(DoctorTarget::parse("localhost:5000"), Some(DoctorTarget::Host(_))));
        assert_eq!(parse("registry.example.com").as_deref(), Some("registry.example.com/carafe"));
        assert_eq!(parse("[::1]:5000").as_deref(), Some("[::1]:5000/carafe"));
        assert!(matches!(DoctorTarget::parse("r.io/a:1"), Some(DoctorTarget::Image(_))));
        for text in ["", "https://r.io", "r.io/", "a b", "me@r.io"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
