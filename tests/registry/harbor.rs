//! A fake registry with a token server like Harbor's, written from the token specification and Harbor's
//! documentation. It is not Harbor itself.
//!
//! The token server grants the requested scopes that the account has, and leaves out the others without
//! an error. The registry checks only the token: its scopes and its age.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use carafe_builder::net::Credential;
use carafe_builder::secret::Secret;

use crate::faulty::{FakeRegistry, Fault, Request, Response};

/// The name of a robot account has a dollar sign.
pub const ROBOT: &str = "robot$erp+ci";
pub const PASSWORD: &str = "pa:ss wörd";
/// `ROBOT:PASSWORD`, in base64.
const BASIC: &str = "Basic cm9ib3QkZXJwK2NpOnBhOnNzIHfDtnJk";
/// The identity token of an account that has logged in before.
pub const IDENTITY: &str = "1dent1ty-token";

/// A token lifetime that is longer than any test.
pub const LONG: Duration = Duration::from_secs(300);

pub struct Harbor {
    pub registry: FakeRegistry,
    pub tokens: FakeRegistry,
}

/// A token that was issued.
struct Token {
    scopes: Vec<String>,
    issued: Instant,
}

/// The state of both servers.
struct Shared {
    tokens: Mutex<BTreeMap<String, Token>>,
    lifetime: Duration,
    /// Scopes that the account has.
    rights: Vec<&'static str>,
}

impl Harbor {
    /// A registry whose account has the scopes `rights`, with tokens of this lifetime. `fault` is a fault
    /// of the token server, and `delay` the time that the registry takes for each chunk.
    pub fn start(
        rights: &[&'static str],
        lifetime: Duration,
        delay: Duration,
        fault: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared { tokens: Mutex::default(), lifetime, rights: rights.to_vec() });
        let (granting, checking) = (Arc::clone(&shared), shared);
        let tokens = FakeRegistry::run(fault, move |request| Some(Fault::Respond(granting.grant(request))));
        let realm = format!("http://{}/service/token", tokens.address());
        let registry = FakeRegistry::scripted(move |request| {
            let required = scopes_of(request);
            if !checking.allows(request.headers.get("authorization"), &required) {
                let scope = required.join(" ");
                let challenge =
                    format!(r#"Bearer realm="{realm}",service="harbor-registry",scope="{scope}""#);
                let body =
                    r#"{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized to access repository"}]}"#;
                return Some(Fault::Respond(
                    Response::status(401).with("WWW-Authenticate", challenge).body(body),
                ));
            }
            if request.method == "PATCH" {
                std::thread::sleep(delay);
            }
            None
        });
        Self { registry, tokens }
    }

    /// The user name and password of the account.
    pub fn robot() -> Credential {
        Credential::Basic { user: ROBOT.to_owned(), password: Secret::new(PASSWORD) }
    }
}

impl Shared {
    fn grant(&self, request: &Request) -> Response {
        let query = match request.method.as_str() {
            "POST" => String::from_utf8_lossy(&request.body).into_owned(),
            _ => request.target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
        };
        let url = reqwest::Url::parse(&format!("http://localhost/?{query}")).unwrap();
        let requested: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let value =
            |key: &str| requested.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let is_known = match request.method.as_str() {
            "POST" => {
                value("grant_type") == Some("refresh_token") && value("refresh_token") == Some(IDENTITY)
            }
            _ => request.headers.get("authorization").is_some_and(|shown| shown == BASIC),
        };
        if !is_known || value("service") != Some("harbor-registry") {
            let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"invalid user name or password"}]}"#;
            return Response::status(401).body(body);
        }
        let scopes =
            requested.iter().filter(|(key, _)| key == "scope").flat_map(|(_, scope)| scope.split(' '));
        // The actions of each scope that the account has.
        let granted = scopes.flat_map(|scope| [scope.to_owned(), scope.replace(":pull,push", ":pull")]);
        let granted = granted.filter(|scope| self.rights.contains(&scope.as_str())).collect();
        let mut tokens = self.tokens.lock().unwrap();
        let token = format!("t0ken-{}", tokens.len() + 1);
        tokens.insert(format!("Bearer {token}"), Token { scopes: granted, issued: Instant::now() });
        let seconds = self.lifetime.as_secs();
        Response::status(200)
            .body(format!(r#"{{"token":"{token}","access_token":"","expires_in":{seconds}}}"#))
    }

    fn allows(&self, shown: Option<&String>, required: &[String]) -> bool {
        let tokens = self.tokens.lock().unwrap();
        shown.and_then(|shown| tokens.get(shown)).is_some_and(|token| {
            token.issued.elapsed() < self.lifetime
                && required.iter().all(|scope| {
                    let push = scope.replace(":pull", ":pull,push");
                    token.scopes.contains(scope) || token.scopes.contains(&push)
                })
        })
    }
}

/// The scopes that a request needs.
fn scopes_of(request: &Request) -> Vec<String> {
    let path = request.target.trim_start_matches("/v2/");
    let end = ["/blobs/", "/manifests/"].iter().find_map(|part| path.find(part));
    let Some(end) = end else { return Vec::new() };
    let is_read = matches!(request.method.as_str(), "GET" | "HEAD") && !path.contains("/uploads/");
    let action = if is_read { "pull" } else { "pull,push" };
    let mut scopes = vec![format!("repository:{}:{action}", &path[..end])];
    scopes.extend(path.split_once("&from=").map(|(_, from)| format!("repository:{from}:pull")));
    scopes
}
