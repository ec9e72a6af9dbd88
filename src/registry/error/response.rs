//! A registry's error document: its message, and the policy behind a rejection.

use std::fmt;

use oci_client::errors::{OciEnvelope, OciError, OciErrorCode};
use reqwest::StatusCode;

use super::access::Access;
use super::text::server_message;

/// A policy of a registry that rejects a push. Its administrator can change it; a retry cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// The storage of the project or account is used up.
    Quota,
    /// The tag must not move.
    ImmutableTag,
    /// The name of the repository or the tag is invalid in this registry.
    NameInvalid,
    /// The project or repository must be created before a push.
    NoSuchProject,
    /// The registry accepts no writes at the moment.
    ReadOnly,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quota => "storage quota exceeded",
            Self::ImmutableTag => "the tag is immutable",
            Self::NameInvalid => "the name is invalid in this registry",
            Self::NoSuchProject => "the project or repository does not exist",
            Self::ReadOnly => "the registry is read-only",
        })
    }
}

impl Policy {
    /// The help text for a push to `repository`.
    pub(super) fn help(self, repository: &str) -> String {
        let project = repository.split('/').next().unwrap_or(repository);
        match self {
            Self::Quota => format!(
                "delete images of `{project}` and run the registry's garbage collection, or have the quota raised; the next push skips the blobs that have arrived"
            ),
            Self::ImmutableTag => {
                "push under another tag, or have the policy changed; the image itself is in the registry by its digest"
                    .to_owned()
            }
            Self::NameInvalid => format!(
                "`{repository}` must be lower case, and many registries require a project before the slash: `project/{}`",
                repository.rsplit('/').next().unwrap_or(repository)
            ),
            Self::NoSuchProject => format!(
                "create it first: the project `{project}` on Harbor, the repository `{repository}` on ECR (`aws ecr create-repository --repository-name {repository}`)"
            ),
            Self::ReadOnly => "wait until the registry's maintenance is over, and push again".to_owned(),
        }
    }

    /// The policy behind a rejected write. It is found by the specification's error codes and, where
    /// several registries use one code for many errors (`DENIED`), by their messages.
    fn find(access: &Access, status: StatusCode, errors: &[OciError]) -> Option<Self> {
        let is_final = status.is_client_error()
            && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS);
        if !is_final || *access == Access::Pull {
            return None;
        }
        errors.iter().find_map(|entry| {
            let message = entry.message.to_lowercase();
            let has_any = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase));
            match &entry.code {
                _ if has_any(&["quota", "configured upper limit", "storage limit"]) => Some(Self::Quota),
                _ if has_any(&["immutable"]) => Some(Self::ImmutableTag),
                _ if has_any(&["read only", "read-only"]) => Some(Self::ReadOnly),
                OciErrorCode::NameInvalid | OciErrorCode::TagInvalid => Some(Self::NameInvalid),
                OciErrorCode::NameUnknown => Some(Self::NoSuchProject),
                OciErrorCode::NotFound if status == StatusCode::NOT_FOUND => Some(Self::NoSuchProject),
                _ => None,
            }
        })
    }
}

/// The parsed body of a response with an error status.
pub(super) struct ErrorResponse {
    /// The registry's error codes and messages; else the beginning of the body; else the meaning of
    /// the status.
    pub(super) message: String,
    pub(super) policy: Option<Policy>,
}

impl ErrorResponse {
    pub(super) fn read(access: &Access, status: StatusCode, body: &str) -> Self {
        let errors = serde_json::from_str(body).map(|envelope: OciEnvelope| envelope.errors);
        let text = match &errors {
            Ok(errors) => {
                let entries =
                    errors.iter().map(|entry| format!("{}: {}", code_text(&entry.code), entry.message));
                server_message(&entries.collect::<Vec<_>>().join("; "))
            }
            Err(_) => server_message(body),
        };
        let reason = || status.canonical_reason().unwrap_or("no reason given").to_lowercase();
        let message = if text.is_empty() { reason() } else { text };
        Self { message, policy: Policy::find(access, status, errors.as_deref().unwrap_or_default()) }
    }
}

/// The code as the registry sent it. oci-client has no `Display` for it, and its serialized form is
/// that text.
fn code_text(code: &OciErrorCode) -> String {
    let text = serde_json::to_value(code).ok();
    text.as_ref().and_then(|text| text.as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(access: &Access, status: u16, code: &str, message: &str) -> Option<Policy> {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        ErrorResponse::read(access, StatusCode::from_u16(status).unwrap(), &body).policy
    }

    /// Messages of Harbor, ECR and docker-registry.
    #[test]
    fn finds_the_policy_behind_a_rejection() {
        let push = Access::push([]);
        for (status, code, message, expected) in [
            (
                403,
                "DENIED",
                "adding 29.0 MiB of storage resource will exceed the configured upper limit",
                Policy::Quota,
            ),
            (403, "DENIED", "Quota exceeded when processing the request", Policy::Quota),
            (
                412,
                "PRECONDITION",
                "Failed to process request due to '15' configured as immutable.",
                Policy::ImmutableTag,
            ),
            (
                400,
                "TAG_INVALID",
                "cannot be overwritten because the repository is immutable.",
                Policy::ImmutableTag,
            ),
            (403, "DENIED", "Upload/Delete is prohibited in read only mode.", Policy::ReadOnly),
            (400, "NAME_INVALID", "invalid repository name", Policy::NameInvalid),
            (404, "NAME_UNKNOWN", "The repository with name 'erp' does not exist", Policy::NoSuchProject),
            (404, "NOT_FOUND", "project erp not found", Policy::NoSuchProject),
        ] {
            assert_eq!(policy(&push, status, code, message), Some(expected), "{message}");
            assert_eq!(policy(&Access::Pull, status, code, message), None, "{message}");
        }
    }

    /// The documents that registries send: a code of the registry's own, no message, no detail, a
    /// detail of any type. A document that is not an envelope is shown as text.
    #[test]
    fn reads_every_form_of_an_error_document() {
        let shown = |body: &str| ErrorResponse::read(&Access::Pull, StatusCode::FORBIDDEN, body).message;
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no","detail":null}]}"#, "DENIED: no"),
            (r#"{"errors":[{"code":"DENIED","message":"no","detail":[{"Type":"r"}]}]}"#, "DENIED: no"),
            (r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED:"),
            (
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#,
                "TOOMANYREQUESTS: slow down",
            ),
            (
                r#"{"errors":[{"code":"ARTIFACT_LOCKED","message":"it is locked","x":1}],"y":2}"#,
                "ARTIFACT_LOCKED: it is locked",
            ),
            (r#"{"errors":[{"code":"a","message":"b"},{"code":"c","message":"d"}]}"#, "a: b; c: d"),
            (r#"{"errors":[]}"#, "forbidden"),
            (r#"{"errors":null}"#, r#"{"errors":null}"#),
            (r#"{"errors":[{"code":403}]}"#, r#"{"errors":[{"code":403}]}"#),
            (r#"{"errors":[{"message":"no code"}]}"#, r#"{"errors":[{"message":"no code"}]}"#),
            (r#"{"details":"no envelope"}"#, r#"{"details":"no envelope"}"#),
            ("", "forbidden"),
        ] {
            assert_eq!(shown(body).trim_end(), expected, "{body}");
        }
    }

    #[test]
    fn temporary_errors_and_missing_permissions_are_not_a_policy() {
        let push = Access::push([]);
        for (status, code, message) in [
            (429, "TOOMANYREQUESTS", "quota exceeded for requests per minute"),
            (401, "UNAUTHORIZED", "unauthorized to access repository: erp/x, action: push"),
            (503, "UNAVAILABLE", "read only"),
            (403, "DENIED", "requested access to the resource is denied"),
            (404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
        ] {
            assert_eq!(policy(&push, status, code, message), None, "{message}");
        }
        // An HTML page of a proxy is not a registry's error document.
        assert_eq!(ErrorResponse::read(&push, StatusCode::FORBIDDEN, "<h1>quota</h1>").policy, None);
    }
}
