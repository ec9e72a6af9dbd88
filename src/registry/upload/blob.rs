//! Whether a blob is there, and taking it from where the registry has it.

use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use reqwest::StatusCode;
use reqwest::header::CONTENT_LENGTH;

use super::session::{self, Session};
use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::http::Client;
use crate::registry::reference::Repository;

/// What a registry made of the wish to mount a blob.
pub(in crate::registry) enum Mount {
    /// The blob is there now.
    Done,
    /// It would rather be sent the bytes, and opened an upload for them.
    Send(Session),
}

impl Client {
    /// Whether the attempt's repository has the blob. Fails when it answers with another one.
    pub(in crate::registry) async fn has_blob(
        &self,
        attempt: &RequestContext<'_>,
        blob: &Descriptor,
    ) -> Result<bool, RegistryError> {
        let response =
            self.send(attempt, |http, url| http.head(format!("{url}/blobs/{}", blob.digest))).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => {
                session::check_stored(attempt, &response, blob.digest).map(|()| true)
            }
            _ => Err(self.refused(attempt, response).await),
        }
    }

    /// Asks the registry to take the blob from `from`, another repository of its own.
    pub(in crate::registry) async fn mount_blob(
        &self,
        attempt: &RequestContext<'_>,
        digest: Digest,
        from: &Repository,
    ) -> Result<Mount, RegistryError> {
        let ask = |http: &reqwest::Client, url: &str| {
            // Neither needs escaping: colons and slashes may stand in a query.
            let query = format!("mount={digest}&from={}", from.name());
            http.post(format!("{url}/blobs/uploads/?{query}")).header(CONTENT_LENGTH, 0)
        };
        let response = self.send(attempt, ask).await?;
        match response.status() {
            StatusCode::CREATED => session::check_stored(attempt, &response, digest).map(|()| Mount::Done),
            status if status.is_success() => self.opened(attempt, &response).map(Mount::Send),
            _ => Err(self.refused(attempt, response).await),
        }
    }
}
