//! Authentication: the credentials of a registry, and what a request is authorized with. Nothing here
//! sends a request; `http` does.
//!
//! In this order: `credential` (a credential and its source), the places it is read from
//! (`credential_helper`, `auth_file`, `credential_files`), `challenge` (what a registry requires),
//! `method` (the trait of all methods), and the methods `token` and `basic`.
//!
//! To add a method, implement [`AuthMethod`] (see `method`) in a new file and list it in [`METHODS`]
//! before [`Basic`]. If it needs a new kind of credential, add that to `carafe_builder::net::Credential`.

mod auth_file;
mod basic;
mod challenge;
mod credential;
mod credential_files;
mod credential_helper;
mod method;
mod token;

use self::basic::Basic;
use self::method::AuthMethod;
use self::token::Token;

pub(crate) use self::challenge::Challenges;
pub(crate) use self::credential::{Login, environment_credential};
pub use self::credential_files::CredentialFiles;
pub(crate) use self::method::{AuthRequest, Authorization, Exchange, Grant, Origin, Step};

/// All methods. The first one that supports a registry's challenges is used. [`Basic`] accepts any
/// challenge, so it is the last.
const METHODS: &[&dyn AuthMethod] = &[&Token, &Basic];

/// The first step of the method that the registry requires. Without such a method, or without a
/// credential for it, requests are anonymous. The error is a reason for
/// [`super::error::RequestContext::protocol`].
pub(crate) fn begin(request: &AuthRequest<'_>) -> Result<Step, String> {
    METHODS
        .iter()
        .find_map(|method| method.begin(request))
        .unwrap_or_else(|| Ok(Step::Ready(Authorization::anonymous())))
}
