//! What one operation needs to know of its server: the credential for it, what it reported, and
//! what an error of gix means.

use std::cell::RefCell;
use std::error::Error;

use gix::credentials::{helper, protocol};
use reqwest::StatusCode;

use super::server_messages::ServerMessages;
use crate::git::error::GitError;
use crate::git::foreign_text::printable;
use crate::git::remote::{Remote, Transport};
use crate::secret::Redactor;

/// The server of a remote during one operation.
pub(super) struct Connection {
    pub remote: Remote,
    pub messages: ServerMessages,
    /// The origin of another server that required a credential, after a redirect.
    redirected_to: RefCell<Option<String>>,
}

impl Connection {
    pub fn new(remote: &Remote) -> Self {
        Self {
            remote: remote.clone(),
            messages: ServerMessages::default(),
            redirected_to: RefCell::default(),
        }
    }

    /// gix's callback for a credential. Only the origin of the remote receives one.
    pub fn credential(&self, action: helper::Action) -> Option<protocol::Outcome> {
        let context = action.context()?;
        let url = url::Url::parse(std::str::from_utf8(context.url.as_deref()?).ok()?).ok()?;
        let requesting = url.origin().ascii_serialization();
        let Transport::Http { origin } = self.remote.transport() else { return None };
        if requesting != *origin {
            *self.redirected_to.borrow_mut() = Some(requesting);
            return None;
        }
        let (user, password) = self.remote.credential()?;
        let identity = gix::sec::identity::Account {
            username: user.to_owned(),
            password: password.expose().to_owned(),
            oauth_refresh_token: None,
        };
        Some(protocol::Outcome { identity, next: protocol::Context::default().into() })
    }

    /// The meaning of an error of gix. `verb` is what was attempted, as in "failed to fetch from".
    pub fn explain(&self, verb: &'static str, error: &gix::Error) -> GitError {
        let url = self.remote.to_string();
        let request = error.downcast_any_ref::<reqwest::Error>();
        let status = request.and_then(reqwest::Error::status);
        let has_credential = self.remote.has_credential();
        if let Some(to) = self.redirected_to.take() {
            return GitError::Redirected { url, to };
        }
        if error.is_unauthenticated()
            || matches!(status, Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
        {
            return match has_credential {
                true => GitError::CredentialRejected { url },
                false => GitError::CredentialMissing { url },
            };
        }
        let reason = match (status, request.and_then(Error::source)) {
            (Some(status), _) => format!("the server responded {status}"),
            // The cause is below what gix and reqwest say about themselves.
            (None, Some(cause)) => self.reason(std::iter::once(cause)),
            (None, None) => self.reason(error.iter_errors()),
        };
        match (status, request) {
            (Some(StatusCode::NOT_FOUND | StatusCode::GONE), _) => {
                GitError::NotARepository { url, reason, authenticated: has_credential }
            }
            (None, Some(_)) => GitError::Unreachable { url, reason },
            (None, None) if error.is_unsupported() => {
                GitError::NotARepository { url, reason, authenticated: false }
            }
            _ => GitError::Failed { verb, url, reason, server_message: self.server_message() },
        }
    }

    fn server_message(&self) -> Option<String> {
        self.messages.text().map(|text| printable(&text, &self.redactor()))
    }

    /// The errors and their causes, each once, safe to show.
    fn reason<'a>(&self, errors: impl Iterator<Item = &'a (dyn Error + 'static)>) -> String {
        let mut parts: Vec<String> = Vec::new();
        for error in errors {
            for cause in std::iter::successors(Some(error), |&cause| cause.source()) {
                let text = cause.to_string();
                if !parts.contains(&text) {
                    parts.push(text);
                }
            }
        }
        printable(&parts.join(": "), &self.redactor())
    }

    fn redactor(&self) -> Redactor {
        Redactor::new(self.remote.secrets())
    }
}
