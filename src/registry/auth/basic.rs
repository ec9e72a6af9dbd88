//! Basic authentication (RFC 7617): user name and password with each request.

use carafe_builder::net::Credential;

use super::method::{AuthMethod, AuthRequest, Authorization, Step};

pub(super) struct Basic;

impl AuthMethod for Basic {
    /// Also without a `Basic` challenge: some registries send none that is valid.
    fn begin(&self, request: &AuthRequest<'_>) -> Option<Result<Step, String>> {
        let credential = request.credential.filter(|_| !request.challenges.is_open())?;
        matches!(credential, Credential::Basic { .. })
            .then(|| Ok(Step::Ready(Authorization::with_credential(credential))))
    }
}
