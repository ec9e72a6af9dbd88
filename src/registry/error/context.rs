//! The context of a request, which turns its failures into [`RegistryError`]s.

use std::error::Error as StdError;

use carafe_builder::secret::Redactor;
use reqwest::StatusCode;
use rustls::Error as TlsError;

use super::access::Access;
use super::registry_error::RegistryError;
use super::response::ErrorResponse;
use super::text::server_message;
use crate::registry::reference::Repository;

/// The account of a request, for error messages.
pub(crate) struct Principal {
    /// Such as "user `me` from CARAFE_USERNAME".
    pub(crate) identity: String,
    /// Removes every secret that was sent to a server: a hostile one may send it back.
    pub(crate) redactor: Redactor,
}

/// What a request attempts, in which repository, and with which permission.
#[derive(Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    /// Continues "failed to".
    pub(crate) action: &'a str,
    pub(crate) repository: &'a Repository,
    pub(crate) access: &'a Access,
    /// The size of the request body, for a 413.
    pub(crate) size: u64,
    /// Another endpoint can serve the request, so that this one has fewer attempts.
    pub(crate) is_mirror: bool,
}

impl<'a> RequestContext<'a> {
    pub(crate) fn new(action: &'a str, repository: &'a Repository, access: &'a Access) -> Self {
        Self { action, repository, access, size: 0, is_mirror: false }
    }

    pub(crate) fn with_size(self, size: u64) -> Self {
        Self { size, ..self }
    }

    pub(crate) fn at_mirror(self) -> Self {
        Self { is_mirror: true, ..self }
    }

    pub(crate) fn host(&self) -> &'a str {
        self.repository.registry()
    }

    fn names(&self) -> (String, String) {
        (self.action.to_owned(), self.host().to_owned())
    }

    /// The registry violates the specification.
    pub(crate) fn protocol(&self, reason: impl Into<String>) -> RegistryError {
        let (action, registry) = self.names();
        RegistryError::Protocol { action, registry, reason: reason.into() }
    }

    /// The requested object does not exist.
    pub(crate) fn not_found(&self, message: &str) -> RegistryError {
        let (action, registry) = self.names();
        RegistryError::NotFound { action, registry, message: message.to_owned() }
    }

    /// The exchange failed in a way that a retry may repair.
    pub(crate) fn broken(&self, source: Box<dyn StdError + Send + Sync>) -> RegistryError {
        let (action, registry) = self.names();
        RegistryError::Broken { action, registry, hint: "", source }
    }

    /// No complete response arrived.
    pub(crate) fn transport(&self, error: reqwest::Error) -> RegistryError {
        let error = error.without_url();
        let (action, registry) = self.names();
        if let Some(reason) = certificate_alert(&error) {
            return RegistryError::ClientCertificate { action, registry, reason };
        }
        match tls_error(&error) {
            Some(TlsError::InvalidMessage(_)) => RegistryError::PlainHttp { action, registry },
            Some(TlsError::InvalidCertificate(reason)) => {
                let hint = certificate_hint(&format!("{reason:?}"));
                let reason = server_message(&reason.to_string());
                RegistryError::Untrusted { action, registry, reason, hint }
            }
            _ if error.is_connect() => RegistryError::Unreachable { action, registry, source: error },
            _ => {
                let hint = closed_connection_hint(&error);
                RegistryError::Broken { action, registry, hint, source: Box::new(error) }
            }
        }
    }

    /// The error for a response whose status is not a success.
    pub(crate) fn rejection(&self, principal: Principal, status: StatusCode, body: &str) -> RegistryError {
        let (action, registry) = self.names();
        let (identity, body) = (principal.identity, principal.redactor.redact(body));
        let ErrorResponse { message, policy } = ErrorResponse::read(self.access, status, &body);
        let scope = || self.access.scopes(self.repository.name()).join(" ");
        if let Some(policy) = policy {
            let hint = policy.help(self.repository.name());
            return RegistryError::PolicyViolation { action, registry, policy, message, hint };
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                RegistryError::Unauthorized { action, registry, identity, scope: scope(), message }
            }
            StatusCode::FORBIDDEN => {
                RegistryError::Forbidden { action, registry, identity, scope: scope(), message }
            }
            StatusCode::NOT_FOUND => RegistryError::NotFound { action, registry, message },
            StatusCode::PAYLOAD_TOO_LARGE => RegistryError::TooLarge { action, registry, size: self.size },
            StatusCode::BAD_REQUEST if requires_client_certificate(&body) => {
                RegistryError::ClientCertificate { action, registry, reason: "status 400".to_owned() }
            }
            StatusCode::BAD_REQUEST if requires_https(&body) => {
                RegistryError::NotPlainHttp { action, registry }
            }
            _ => RegistryError::Rejected {
                action,
                registry,
                status: status.as_u16(),
                message,
                retry_after: None,
            },
        }
    }
}

/// Go's and nginx's responses to plain HTTP on a TLS port.
fn requires_https(body: &str) -> bool {
    ["HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port"]
        .iter()
        .any(|phrase| body.contains(phrase))
}

/// The TLS alert with which a server requires a client certificate, or another one. HTTP/2 passes
/// on only the text of such an error.
fn certificate_alert(error: &(dyn StdError + 'static)) -> Option<String> {
    const ALERTS: [&str; 5] =
        ["CertificateRequired", "BadCertificate", "UnknownCA", "CertificateUnknown", "AccessDenied"];
    let mut texts = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string);
    let alert = texts.find_map(|text| Some(text.split_once("received fatal alert: ")?.1.to_owned()))?;
    ALERTS.into_iter().find(|name| alert.starts_with(name)).map(str::to_owned)
}

/// For a connection that was closed before the server read a request. A server that requires a
/// client certificate does that, and its alert is lost if we are still writing.
fn closed_connection_hint(error: &(dyn StdError + 'static)) -> &'static str {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    match chain.any(|error| error.to_string() == "channel closed") {
        true => {
            "; if it fails each time, the registry may require a client certificate: `client-cert` and `client-key`"
        }
        false => "",
    }
}

/// nginx's response if it requires a client certificate.
fn requires_client_certificate(body: &str) -> bool {
    body.contains("No required SSL certificate was sent") || body.contains("The SSL certificate error")
}

/// The TLS error in the chain. `io::Error` does not return the error that it wraps as its source.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TlsError> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(inner) = wrapped {
            return tls_error(inner as &(dyn StdError + 'static));
        }
        current = error.source();
    }
    None
}

fn certificate_hint(reason: &str) -> &'static str {
    if reason.contains("CaUsedAsEndEntity") {
        "the server's certificate is a CA certificate (CA:TRUE): sign one with CA:FALSE by that CA for the server, and trust the CA"
    } else if ["UnknownIssuer", "BadSignature"].iter().any(|name| reason.contains(name)) {
        // A bad signature: a CA of the same name that was created again, with another key.
        "for a private CA, configure its certificate: `ca = \"file.pem\"` under the registry's table in carafe.toml, `ca.crt` in /etc/docker/certs.d/HOST, or the bundle that SSL_CERT_FILE names"
    } else if reason.contains("NotValidForName") {
        "use a name that the certificate is valid for, or have a certificate issued for this one (subjectAltName)"
    } else {
        "check the certificate's validity period and this machine's clock, and ask the registry's administrator"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_builder::secret::Secret;

    fn rejection(status: u16, body: &str) -> RegistryError {
        let target: crate::registry::Reference = "registry.example.com/erp:15".parse().unwrap();
        let access = Access::push([]);
        let context = RequestContext::new("push a layer", target.repository(), &access).with_size(7);
        let principal =
            Principal { identity: "user `me`".into(), redactor: Redactor::new([Secret::new("s3cret")]) };
        context.rejection(principal, StatusCode::from_u16(status).unwrap(), body)
    }

    #[test]
    fn each_status_has_its_error() {
        use RegistryError as E;
        assert!(matches!(rejection(401, ""), E::Unauthorized { .. }));
        assert!(
            matches!(rejection(403, ""), E::Forbidden { scope, .. } if scope == "repository:erp:pull,push")
        );
        assert!(matches!(rejection(404, ""), E::NotFound { .. }));
        assert!(matches!(rejection(413, "<html>"), E::TooLarge { size: 7, .. }));
        assert!(matches!(
            rejection(400, "Client sent an HTTP request to an HTTPS server.\n"),
            E::NotPlainHttp { .. }
        ));
        assert!(matches!(rejection(502, "<html>"), E::Rejected { status: 502, .. }));
    }

    #[test]
    fn shows_the_registrys_code_and_no_secret() {
        let body = r#"{"errors":[{"code":"DENIED","message":"account suspended","detail":{"x":1}}]}"#;
        let text = rejection(403, body).to_string();
        assert!(text.ends_with("denied access (user `me`): DENIED: account suspended"), "{text}");
        assert!(!rejection(500, "your password s3cret is wrong").to_string().contains("s3cret"));
        assert!(rejection(503, "").to_string().ends_with("service unavailable"));
    }
}
