//! The checks of `carafe doctor --registry`. They leave nothing in the registry.

use bytes::Bytes;
use carafe_layers::digest::Digest;
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::auth::{Login, Origin};
use super::client::Registry;
use super::error::{Access, RegistryError, RequestContext};
use super::executor::Executor;
use super::http::{Client, rejection};
use super::manifest;
use super::reference::{Reference, Repository, is_host};
use super::referrers;
use super::upload::{Mount, Session, SessionError, mount};
use crate::check::Check;

/// All checks, in order. If one fails that the later ones depend on, those are skipped.
const CHECKS: [&str; 8] = ["name", "tls", "ca", "auth", "push", "mount", "referrers", "chunks"];
/// The repository of a target without one. Nothing is written to it.
const DEFAULT_REPOSITORY: &str = "carafe";
/// The environment variables that configure a proxy.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// What is checked.
#[derive(Clone, Debug)]
pub enum DoctorTarget {
    /// A registry by its host: only reading can be checked.
    Host(Repository),
    /// A repository. If the image exists, one of its blobs is used to check mounting.
    Image(Reference),
}

impl DoctorTarget {
    /// Parses `host`, `host/repository` or `host/repository:tag`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains('/') {
            return text.parse().ok().map(Self::Image);
        }
        let is_valid = is_host(text) && !text.contains('@');
        is_valid.then(|| Repository::parse(&format!("{text}/{DEFAULT_REPOSITORY}")).map(Self::Host))?
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
    /// Checks one registry: its name, TLS, CA, authentication, the permission to push (an upload is
    /// opened and canceled), mounting, referrers, chunks. Each request is sent once.
    pub fn run_checks(&self, target: &DoctorTarget) -> Vec<Check> {
        let executor = &self.executor;
        let repository = match executor.client.mirrors().locate(target.repository()) {
            Ok(repository) => repository,
            Err(error) => return with_skipped(vec![Check::failed("name", &error)]),
        };
        let (access, action) = match target {
            DoctorTarget::Host(_) => (Access::Pull, format!("use {}", repository.registry())),
            DoctorTarget::Image(_) => (Access::push([]), format!("use {repository}")),
        };
        let context = RequestContext::new(&action, &repository, &access);
        let mut checks = Vec::new();
        let run = RegistryChecks { executor, context, checks: &mut checks }.run(target);
        let failed = executor.block_on(run).err();
        checks.extend(failed);
        with_skipped(checks)
    }
}

fn with_skipped(mut checks: Vec<Check>) -> Vec<Check> {
    let is_missing = |name: &&str| checks.iter().all(|check| check.name != *name);
    let skipped: Vec<_> = CHECKS.into_iter().filter(|name| is_missing(name)).collect();
    checks.extend(skipped.into_iter().map(|name| Check::skipped(name, "not checked")));
    checks
}

struct RegistryChecks<'a> {
    executor: &'a Executor,
    context: RequestContext<'a>,
    checks: &'a mut Vec<Check>,
}

impl RegistryChecks<'_> {
    /// The error is the failed check that all later checks depend on.
    async fn run(mut self, target: &DoctorTarget) -> Result<(), Check> {
        let mut name = self.name().await?;
        if target.repository() != self.context.repository {
            name.message += &format!("; `registries.conf` maps {} to it", target.repository());
        }
        self.checks.push(name);
        self.connection().await?;
        let auth = self.auth().await.map_err(|error| Check::failed("auth", &error))?;
        self.checks.push(auth);
        let DoctorTarget::Image(reference) = target else {
            let message = "pass a repository to check this: `HOST/PROJECT/NAME`";
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

    fn client(&self) -> &Client {
        &self.executor.client
    }

    fn base(&self) -> String {
        self.client().transports.base(self.context.host())
    }

    /// A proxy may resolve names that this machine cannot.
    async fn name(&self) -> Result<Check, Check> {
        let url = Url::parse(&self.base()).ok();
        let address = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
        let Some((host, port)) = address else {
            let registry = self.context.host().to_owned();
            return Err(Check::failed("name", &RegistryError::Host { registry }));
        };
        let has_proxy = || {
            let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            PROXY_VARIABLES.iter().any(is_set)
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host((bare, port)).await.map(|mut found| found.next()) {
            Ok(Some(address)) => {
                Ok(Check::pass("name", format!("{host} has the address {}, port {port}", address.ip())))
            }
            _ if has_proxy() => Ok(Check::warn(
                "name",
                format!("{host} has no address on this machine; the proxy may have one"),
            )),
            Ok(None) => Err(unknown_host(host, "it has no address")),
            Err(error) => Err(unknown_host(host, &error.to_string())),
        }
    }

    /// TLS, and whether the certificate is trusted, by one request.
    async fn connection(&mut self) -> Result<(), Check> {
        let (client, context) = (&self.executor.client, &self.context);
        let response = match client.transport(context) {
            Ok(transport) => {
                let response = transport.http.get(format!("{}/v2/", self.base())).send().await;
                response.map_err(|error| context.transport(error))
            }
            Err(error) => Err(error),
        };
        let response = match response {
            Ok(response) if response.status() == StatusCode::BAD_REQUEST => {
                Err(rejection(context, client.auth.principal(context.repository), response).await)
            }
            response => response,
        };
        match response {
            Ok(_) if client.transports.is_insecure(context.host()) => {
                self.checks.push(Check::pass("tls", "plain http, because it is marked as insecure"));
                self.checks.push(Check::skipped("ca", "plain http has no certificate"));
            }
            Ok(response) => {
                let trusted = format!("its certificate is trusted{}", self.files());
                self.checks.push(Check::pass("tls", format!("https, {:?}", response.version())));
                self.checks.push(Check::pass("ca", trusted));
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
        let files = self.client().transports.files(self.context.host()).unwrap_or_default();
        let client = files.client.iter().map(|(certificate, _)| certificate);
        let names: Vec<_> =
            files.ca.iter().chain(client).map(|path| format!("`{}`", path.display())).collect();
        if names.is_empty() { String::new() } else { format!(", with {}", names.join(", ")) }
    }

    /// Gets an authorization. A credential that is sent itself is tried.
    async fn auth(&self) -> Result<Check, RegistryError> {
        let client = self.client();
        let authorization = client.auth.authorize(&self.context).await?;
        let login = client.auth.login(self.context.repository)?;
        let identity = Login::describe(login.as_ref());
        match authorization.origin {
            Origin::Anonymous => Ok(Check::pass("auth", "no authentication is required")),
            Origin::Issued => Ok(Check::pass("auth", format!("a token was issued ({identity})"))),
            Origin::Credential => {
                let http = client.transport(&self.context)?.http;
                let request = authorization.apply(http.get(format!("{}/v2/", self.base())));
                let response = request.send().await.map_err(|error| self.context.transport(error))?;
                match response.status().is_success() {
                    true => Ok(Check::pass("auth", format!("the credentials are accepted ({identity})"))),
                    false => Err(client.rejection(&self.context, response).await),
                }
            }
        }
    }

    async fn push(&self) -> Result<Check, RegistryError> {
        let session = Session::open(self.client(), &self.context).await?;
        let result = self.cancel(&session).await;
        Ok(Check::pass("push", format!("an upload to {} was opened{result}", self.context.repository)))
    }

    /// Cancels an upload, and returns the result as the end of a sentence.
    async fn cancel(&self, session: &Session) -> &'static str {
        match session.cancel(self.client(), &self.context).await {
            Ok(()) => " and canceled",
            Err(_) => "; the registry does not support canceling, and will drop it later",
        }
    }

    /// The manifest of the reference, and one of its blobs.
    async fn image(&self, reference: &Reference) -> Option<(Digest, Digest)> {
        let get = async |name: &str| manifest::get(self.client(), &self.context, name).await.ok();
        let (descriptor, mut bytes) = get(&reference.manifest_name()).await?;
        let mut document: Document = serde_json::from_slice(&bytes).ok()?;
        if let Some(first) = document.manifests.first() {
            bytes = get(&first.digest.to_string()).await?.1;
            document = serde_json::from_slice(&bytes).ok()?;
        }
        Some((descriptor.digest, document.config?.digest))
    }

    /// Mounts a blob from the repository into itself, which changes nothing.
    async fn mount(&self, image: Option<&(Digest, Digest)>) -> Check {
        let Some((_, blob)) = image else {
            return Check::skipped("mount", "the image does not exist, so there is no blob to check it with");
        };
        match mount(self.client(), &self.context, *blob, self.context.repository).await {
            Ok(Mount::Done) => Check::pass("mount", "a blob of another repository can be mounted"),
            Ok(Mount::Declined(session)) => {
                let result = self.cancel(&session).await;
                Check::warn(
                    "mount",
                    format!("not supported, blobs are sent instead: an upload was opened{result}"),
                )
            }
            Err(error) => as_warning(Check::failed("mount", &error)),
        }
    }

    async fn referrers(&self, image: Option<&(Digest, Digest)>) -> Check {
        let subject = image.map_or_else(|| Digest::of(b""), |(manifest, _)| *manifest);
        match referrers::get_page(self.client(), &self.context, &subject, "").await {
            Ok(Some(_)) => Check::pass("referrers", "the referrers API is supported"),
            Ok(None) => Check::warn("referrers", "no referrers API: they are listed under a tag"),
            Err(error) => as_warning(Check::failed("referrers", &error)),
        }
    }

    /// Sends one byte, as a chunk of an upload that is canceled.
    async fn chunks(&self) -> Check {
        let client = self.client();
        let mut session = match Session::open(client, &self.context).await {
            Ok(session) => session,
            Err(error) => return Check::failed("chunks", &error),
        };
        let min_chunk = session.min_chunk;
        let sent = session.send_chunk(client, &self.context, 0, Bytes::from_static(b"x")).await;
        self.cancel(&session).await;
        match sent {
            Ok(()) if min_chunk > 1 => {
                Check::pass("chunks", format!("accepted, at least {min_chunk} bytes each"))
            }
            Ok(()) => Check::pass("chunks", "accepted, of any size"),
            Err(SessionError::Failed(error)) => Check::failed("chunks", &error),
            Err(SessionError::NoChunks) => Check::warn(
                "chunks",
                "not supported: a blob is sent in one request, and starts again after a failure",
            ),
            Err(SessionError::Lost | SessionError::WrongOffset) => Check::fail(
                "chunks",
                "an upload that was just opened does not exist any more",
                "all instances behind one name need the same storage and the same secret (`http.secret`)",
            ),
        }
    }
}

/// The members of a manifest or an index that lead to a blob.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Vec<Entry>,
    config: Option<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Digest,
}

/// For a feature that Carafe does not require.
fn as_warning(check: Check) -> Check {
    Check { help: None, ..Check::warn(check.name, check.message) }
}

fn unknown_host(host: &str, reason: &str) -> Check {
    let help = "check the spelling, and this machine's DNS; behind a proxy, set HTTPS_PROXY";
    Check::fail("name", format!("{host} cannot be resolved: {reason}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_or_a_repository() {
        let parse = |text: &str| DoctorTarget::parse(text).map(|target| target.repository().to_string());
        assert!(matches!(DoctorTarget::parse("localhost:5000"), Some(DoctorTarget::Host(_))));
        assert_eq!(parse("registry.example.com").as_deref(), Some("registry.example.com/carafe"));
        assert_eq!(parse("[::1]:5000").as_deref(), Some("[::1]:5000/carafe"));
        assert!(matches!(DoctorTarget::parse("r.io/a:1"), Some(DoctorTarget::Image(_))));
        for text in ["", "https://r.io", "r.io/", "a b", "me@r.io"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
