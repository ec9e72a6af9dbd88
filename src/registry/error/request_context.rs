//! From what went wrong on the wire to a [`RegistryError`] that says what to do.

use std::error::Error as StdError;

use carafe_builder::secret::Redactor;
use reqwest::StatusCode;
use rustls::Error as TlsError;

use super::access::Access;
use super::error_response::Refusal;
use super::registry_error::RegistryError;
use super::scrub::scrub;
use crate::registry::reference::Repository;

/// Who asks: for messages, and to keep what was asked with out of them.
pub(in crate::registry) struct Principal {
    /// Reads like "asked as `me`".
    pub(in crate::registry) identity: String,
    /// Of every secret that the registry has been shown; a hostile one may send them back.
    pub(in crate::registry) redactor: Redactor,
}

/// What is being tried, on what, with which rights: everything a message needs.
#[derive(Clone, Copy)]
pub(in crate::registry) struct RequestContext<'a> {
    /// Reads after "failed to".
    pub(in crate::registry) action: &'a str,
    pub(in crate::registry) repository: &'a Repository,
    pub(in crate::registry) access: &'a Access,
    /// The bytes that are sent, for 413.
    pub(in crate::registry) size: u64,
    /// There is another place to ask: this one gets few tries.
    pub(in crate::registry) is_mirror: bool,
}

impl<'a> RequestContext<'a> {
    pub(in crate::registry) fn new(action: &'a str, repository: &'a Repository, access: &'a Access) -> Self {
        Self { action, repository, access, size: 0, is_mirror: false }
    }

    pub(in crate::registry) fn sized(self, size: u64) -> Self {
        Self { size, ..self }
    }

    pub(in crate::registry) fn at_mirror(self) -> Self {
        Self { is_mirror: true, ..self }
    }

    fn names(&self) -> (String, String) {
        (self.action.to_owned(), self.repository.registry().to_owned())
    }

    /// The server does not keep to the specification.
    pub(in crate::registry) fn protocol(&self, reason: impl Into<String>) -> RegistryError {
        let (action, registry) = self.names();
        RegistryError::Protocol { action, registry, reason: reason.into() }
    }

    /// It is not there.
    pub(in crate::registry) fn not_found(&self, message: &str) -> RegistryError {
        let (action, registry) = self.names();
        RegistryError::NotFound { action, registry, message: message.to_owned() }
    }

    /// The exchange did not end as it should, and may well when it is tried again.
    pub(in crate::registry) fn broken(&self, source: Box<dyn StdError + Send + Sync>) -> RegistryError {
        let (action, registry) = self.names();
        RegistryError::Broken { action, registry, hint: "", source }
    }

    /// No whole answer came.
    pub(in crate::registry) fn transport(&self, error: reqwest::Error) -> RegistryError {
        let error = error.without_url();
        let (action, registry) = self.names();
        if let Some(reason) = certificate_alert(&error) {
            return RegistryError::ClientCertificate { action, registry, reason };
        }
        match tls_error(&error) {
            Some(TlsError::InvalidMessage(_)) => RegistryError::PlainHttp { action, registry },
            Some(TlsError::InvalidCertificate(reason)) => {
                let hint = certificate_hint(&format!("{reason:?}"));
                RegistryError::Untrusted { action, registry, reason: scrub(&reason.to_string()), hint }
            }
            _ if error.is_connect() => RegistryError::Unreachable { action, registry, source: error },
            _ => {
                let hint = closing_hint(&error);
                RegistryError::Broken { action, registry, hint, source: Box::new(error) }
            }
        }
    }

    /// The server answered, and the answer is no.
    pub(in crate::registry) fn refusal(
        &self,
        principal: Principal,
        status: StatusCode,
        body: &str,
    ) -> RegistryError {
        let (action, registry) = self.names();
        let (identity, body) = (principal.identity, principal.redactor.redact(body));
        let Refusal { message, rule } = Refusal::read(self.access, status, &body);
        let scope = || self.access.scopes(self.repository.name()).join(" ");
        if let Some(rule) = rule {
            let hint = rule.hint(self.repository.name());
            return RegistryError::PolicyViolation { action, registry, rule, message, hint };
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
            StatusCode::BAD_REQUEST if lacks_certificate(&body) => {
                RegistryError::ClientCertificate { action, registry, reason: "it says status 400".to_owned() }
            }
            StatusCode::BAD_REQUEST if speaks_tls(&body) => RegistryError::NotPlainHttp { action, registry },
            _ => RegistryError::Refused {
                action,
                registry,
                status: status.as_u16(),
                message,
                retry_after: None,
            },
        }
    }
}

/// Go's and nginx's answers to plain HTTP on a TLS port.
fn speaks_tls(body: &str) -> bool {
    ["HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port"]
        .iter()
        .any(|sign| body.contains(sign))
}

/// A server's way to say that it wants a client certificate, or another one. HTTP/2 passes on the
/// text of such an error and nothing else.
fn certificate_alert(error: &(dyn StdError + 'static)) -> Option<String> {
    const ALERTS: [&str; 5] =
        ["CertificateRequired", "BadCertificate", "UnknownCA", "CertificateUnknown", "AccessDenied"];
    let mut texts = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string);
    let alert = texts.find_map(|text| Some(text.split_once("received fatal alert: ")?.1.to_owned()))?;
    ALERTS.into_iter().find(|known| alert.starts_with(known)).map(str::to_owned)
}

/// For a connection that was closed before it took a request. A server that wants a client
/// certificate does that, and its alert is lost where ours is not the faster side.
fn closing_hint(error: &(dyn StdError + 'static)) -> &'static str {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    match chain.any(|error| error.to_string() == "channel closed") {
        true => "; if it does so each time, it may want a client certificate: `client-cert` and `client-key`",
        false => "",
    }
}

/// nginx's answer where it wants a client certificate.
fn lacks_certificate(body: &str) -> bool {
    body.contains("No required SSL certificate was sent") || body.contains("The SSL certificate error")
}

/// The TLS error inside: `io::Error` does not count what it wraps as its source.
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
        "the server shows a CA's own certificate (CA:TRUE): make it one that is signed by that CA, with CA:FALSE, and trust the CA"
    } else if ["UnknownIssuer", "BadSignature"].iter().any(|sign| reason.contains(sign)) {
        // A bad signature: a CA of the same name, made anew, with another key.
        "for a private CA name its certificate: `ca = \"file.pem\"` under the registry's table in carafe.toml, as `ca.crt` in /etc/docker/certs.d/HOST, or in the bundle that SSL_CERT_FILE names"
    } else if reason.contains("NotValidForName") {
        "use the name that the certificate is made for, or have it made for this one (subjectAltName)"
    } else {
        "check the certificate's dates and this machine's clock, and ask whoever runs the registry"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carafe_builder::secret::Secret;

    fn refusal(status: u16, body: &str) -> RegistryError {
        let target: crate::registry::Reference = "registry.example.com/erp:15".parse().unwrap();
        let access = Access::push([]);
        let attempt = RequestContext::new("push a layer", target.repository(), &access).sized(7);
        let principal =
            Principal { identity: "asked as `me`".into(), redactor: Redactor::new([Secret::new("s3cret")]) };
        attempt.refusal(principal, StatusCode::from_u16(status).unwrap(), body)
    }

    #[test]
    fn each_status_has_its_error() {
        use RegistryError as E;
        assert!(matches!(refusal(401, ""), E::Unauthorized { .. }));
        assert!(
            matches!(refusal(403, ""), E::Forbidden { scope, .. } if scope == "repository:erp:pull,push")
        );
        assert!(matches!(refusal(404, ""), E::NotFound { .. }));
        assert!(matches!(refusal(413, "<html>"), E::TooLarge { size: 7, .. }));
        assert!(matches!(
            refusal(400, "Client sent an HTTP request to an HTTPS server.\n"),
            E::NotPlainHttp { .. }
        ));
        assert!(matches!(refusal(502, "<html>"), E::Refused { status: 502, .. }));
    }

    #[test]
    fn the_registrys_own_code_is_shown() {
        let body = r#"{"errors":[{"code":"DENIED","message":"account suspended","detail":{"x":1}}]}"#;
        let shown = refusal(403, body).to_string();
        assert!(shown.ends_with("denies it (asked as `me`): DENIED: account suspended"), "{shown}");
        assert!(!refusal(500, "your password s3cret is wrong").to_string().contains("s3cret"));
        assert!(refusal(503, "").to_string().ends_with("service unavailable"));
    }
}
