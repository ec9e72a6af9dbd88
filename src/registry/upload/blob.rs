//! The requests that find a blob and mount it from another repository.

use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use reqwest::StatusCode;
use reqwest::header::CONTENT_LENGTH;

use super::session::{Session, check_stored_digest};
use crate::registry::error::{RegistryError, RequestContext};
use crate::registry::http::Client;
use crate::registry::reference::Repository;

/// The registry's response to a request to mount a blob.
pub(crate) enum Mount {
    /// The blob is in the repository now.
    Done,
    /// The registry declined, and opened an upload.
    Declined(Session),
}

/// Whether the repository has the blob. Fails if the registry reports another digest.
pub(super) async fn exists(
    client: &Client,
    context: &RequestContext<'_>,
    blob: &Descriptor,
) -> Result<bool, RegistryError> {
    let request = |http: &reqwest::Client, url: &str| http.head(format!("{url}/blobs/{}", blob.digest));
    let response = client.send(context, request).await?;
    match response.status() {
        StatusCode::NOT_FOUND => Ok(false),
        status if status.is_success() => check_stored_digest(context, &response, blob.digest).map(|()| true),
        _ => Err(client.rejection(context, response).await),
    }
}

/// Requests to mount the blob from another repository of the same registry.
pub(crate) async fn mount(
    client: &Client,
    context: &RequestContext<'_>,
    digest: Digest,
    from: &Repository,
) -> Result<Mount, RegistryError> {
    let request = |http: &reqwest::Client, url: &str| {
        // Neither value needs escaping: a query may contain colons and slashes.
        let query = format!("mount={digest}&from={}", from.name());
        http.post(format!("{url}/blobs/uploads/?{query}")).header(CONTENT_LENGTH, 0)
    };
    let response = client.send(context, request).await?;
    match response.status() {
        StatusCode::CREATED => check_stored_digest(context, &response, digest).map(|()| Mount::Done),
        status if status.is_success() => {
            Session::from_response(client, context, &response).map(Mount::Declined)
        }
        _ => Err(client.rejection(context, response).await),
    }
}
