//! What a registry's "no" means: its own words, and the rule behind them.

use std::fmt;

use oci_client::errors::{OciEnvelope, OciError, OciErrorCode};
use reqwest::StatusCode;

use super::access::Access;
use super::scrub::scrub;

/// A rule of a registry's that stands in the way: its owner can change that, and no further try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The project's or the account's storage is used up.
    Quota,
    /// The tag may not move.
    ImmutableTag,
    /// The repository's or the tag's name has a form that the registry does not take.
    NameInvalid,
    /// The project or repository must exist before it is pushed to.
    NoSuchProject,
    /// Nothing is written for now.
    ReadOnly,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quota => "its quota is used up",
            Self::ImmutableTag => "the tag is immutable",
            Self::NameInvalid => "the name is not valid there",
            Self::NoSuchProject => "the project or repository does not exist",
            Self::ReadOnly => "it is read-only",
        })
    }
}

impl Rule {
    /// What to do about it, where `repository` was written to.
    pub(super) fn hint(self, repository: &str) -> String {
        let project = repository.split('/').next().unwrap_or(repository);
        match self {
            Self::Quota => format!(
                "delete images of `{project}` and let the registry collect garbage, or have its quota raised; the next push skips what has arrived"
            ),
            Self::ImmutableTag => {
                "push under another tag, or have the rule changed; the image itself is there by its digest"
                    .to_owned()
            }
            Self::NameInvalid => format!(
                "`{repository}` must be lower case, and on many registries have a project before the slash: `project/{}`",
                repository.rsplit('/').next().unwrap_or(repository)
            ),
            Self::NoSuchProject => format!(
                "create it first: the project `{project}` on Harbor, the repository `{repository}` on ECR (`aws ecr create-repository --repository-name {repository}`)"
            ),
            Self::ReadOnly => "wait until the registry's maintenance is over, and push again".to_owned(),
        }
    }

    /// The rule behind a refusal of a write. ProgressTask by the specification's codes, and where several
    /// registries use one code for many things (`DENIED`) by their words.
    fn of(access: &Access, status: StatusCode, errors: &[OciError]) -> Option<Self> {
        let is_final = status.is_client_error()
            && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS);
        if !is_final || *access == Access::Pull {
            return None;
        }
        errors.iter().find_map(|entry| {
            let words = entry.message.to_lowercase();
            let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
            match &entry.code {
                _ if says(&["quota", "configured upper limit", "storage limit"]) => Some(Self::Quota),
                _ if says(&["immutable"]) => Some(Self::ImmutableTag),
                _ if says(&["read only", "read-only"]) => Some(Self::ReadOnly),
                OciErrorCode::NameInvalid | OciErrorCode::TagInvalid => Some(Self::NameInvalid),
                OciErrorCode::NameUnknown => Some(Self::NoSuchProject),
                OciErrorCode::NotFound if status == StatusCode::NOT_FOUND => Some(Self::NoSuchProject),
                _ => None,
            }
        })
    }
}

/// A refusal, read.
pub(super) struct Refusal {
    /// The registry's error codes and messages, else the start of whatever came, else what the
    /// status means.
    pub(super) message: String,
    pub(super) rule: Option<Rule>,
}

impl Refusal {
    pub(super) fn read(access: &Access, status: StatusCode, body: &str) -> Self {
        let errors = serde_json::from_str(body).map(|envelope: OciEnvelope| envelope.errors);
        let text = match &errors {
            Ok(errors) => {
                let entries =
                    errors.iter().map(|entry| format!("{}: {}", code_text(&entry.code), entry.message));
                scrub(&entries.collect::<Vec<_>>().join("; "))
            }
            Err(_) => scrub(body),
        };
        let reason = || status.canonical_reason().unwrap_or("no reason given").to_lowercase();
        let message = if text.is_empty() { reason() } else { text };
        Self { message, rule: Rule::of(access, status, errors.as_deref().unwrap_or_default()) }
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

    fn rule(access: &Access, status: u16, code: &str, message: &str) -> Option<Rule> {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
        Refusal::read(access, StatusCode::from_u16(status).unwrap(), &body).rule
    }

    /// Words as Harbor, ECR and docker-registry have them.
    #[test]
    fn a_registrys_words_tell_the_rule() {
        let push = Access::push([]);
        for (status, code, message, wanted) in [
            (
                403,
                "DENIED",
                "adding 29.0 MiB of storage resource will exceed the configured upper limit",
                Rule::Quota,
            ),
            (403, "DENIED", "Quota exceeded when processing the request", Rule::Quota),
            (
                412,
                "PRECONDITION",
                "Failed to process request due to '15' configured as immutable.",
                Rule::ImmutableTag,
            ),
            (
                400,
                "TAG_INVALID",
                "cannot be overwritten because the repository is immutable.",
                Rule::ImmutableTag,
            ),
            (403, "DENIED", "Upload/Delete is prohibited in read only mode.", Rule::ReadOnly),
            (400, "NAME_INVALID", "invalid repository name", Rule::NameInvalid),
            (404, "NAME_UNKNOWN", "The repository with name 'erp' does not exist", Rule::NoSuchProject),
            (404, "NOT_FOUND", "project erp not found", Rule::NoSuchProject),
        ] {
            assert_eq!(rule(&push, status, code, message), Some(wanted), "{message}");
            assert_eq!(rule(&Access::Pull, status, code, message), None, "{message}");
        }
    }

    /// The documents that registries send: a code of the registry's own, no message, no detail, a
    /// detail of any type. A document that is not an envelope is shown as text.
    #[test]
    fn reads_every_form_of_an_error_document() {
        let shown = |body: &str| Refusal::read(&Access::Pull, StatusCode::FORBIDDEN, body).message;
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
    fn what_passes_or_is_of_rights_is_no_rule() {
        let push = Access::push([]);
        for (status, code, message) in [
            (429, "TOOMANYREQUESTS", "quota exceeded for requests per minute"),
            (401, "UNAUTHORIZED", "unauthorized to access repository: erp/x, action: push"),
            (503, "UNAVAILABLE", "read only"),
            (403, "DENIED", "requested access to the resource is denied"),
            (404, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
        ] {
            assert_eq!(rule(&push, status, code, message), None, "{message}");
        }
        // A proxy's page is not a registry's word.
        assert_eq!(Refusal::read(&push, StatusCode::FORBIDDEN, "<h1>quota</h1>").rule, None);
    }
}
