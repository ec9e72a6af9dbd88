//! Manifests and indexes: HEAD, GET and PUT.

use carafe_layers::digest::Digest;
use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::source::MAX_DOCUMENT_BYTES;
use reqwest::{Response, StatusCode, header};
use serde_json::Value;

use super::error::{RegistryError, RequestContext};
use super::http::Client;

/// Every form in which a base may be stored: OCI's and Docker's, an index or one image.
const ACCEPTED: [&str; 4] =
    [media_type::INDEX, media_type::MANIFEST, media_type::DOCKER_INDEX, media_type::DOCKER_MANIFEST];
/// The header in which a registry says that it will list what it stored as a referrer.
const SUBJECT_HEADER: &str = "oci-subject";
/// The header in which a registry says what it stored.
const DIGEST_HEADER: &str = "docker-content-digest";

impl Client {
    /// What `name` (a tag or a digest) points at; none if it is not there. A registry that does
    /// not say the digest in a HEAD is asked for the whole manifest.
    pub(super) async fn find_manifest(
        &self,
        attempt: &RequestContext<'_>,
        name: &str,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let ask = |http: &reqwest::Client, url: &str| {
            http.head(format!("{url}/manifests/{name}")).header(header::ACCEPT, ACCEPTED.join(", "))
        };
        let response = self.send(attempt, ask).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => match described(&response, attempt)? {
                Some(descriptor) => Ok(Some(descriptor)),
                None => Ok(Some(self.get_manifest(attempt, name).await?.0)),
            },
            _ => Err(self.refused(attempt, response).await),
        }
    }

    /// The manifest or index that `name` (a tag or a digest) points at: the descriptor of the
    /// bytes that came, and those bytes, at most [`MAX_DOCUMENT_BYTES`].
    pub(super) async fn get_manifest(
        &self,
        attempt: &RequestContext<'_>,
        name: &str,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let ask = |http: &reqwest::Client, url: &str| {
            http.get(format!("{url}/manifests/{name}")).header(header::ACCEPT, ACCEPTED.join(", "))
        };
        let response = self.send(attempt, ask).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(attempt, response).await);
        }
        let (stated, kind) = (stated_digest(&response, attempt)?, content_type(&response));
        let bytes = read_document(attempt, response).await?;
        let digest = Digest::of(&bytes);
        if let Some(wanted) = name.parse().ok().or(stated).filter(|wanted| *wanted != digest) {
            return Err(RegistryError::DigestMismatch {
                action: attempt.action.to_owned(),
                wanted,
                got: digest,
            });
        }
        let kind = kind.or_else(|| own_media_type(&bytes)).unwrap_or(media_type::MANIFEST);
        Ok((Descriptor::of(kind, &bytes), bytes))
    }

    /// Stores a manifest under `name` (a tag or a digest). Says whether the registry keeps track of
    /// the manifest's `subject`.
    pub(super) async fn put_manifest(
        &self,
        attempt: &RequestContext<'_>,
        name: &str,
        descriptor: &Descriptor,
        bytes: &[u8],
    ) -> Result<bool, RegistryError> {
        let ask = |http: &reqwest::Client, url: &str| {
            http.put(format!("{url}/manifests/{name}"))
                .header(header::CONTENT_TYPE, &descriptor.media_type)
                .body(bytes.to_vec())
        };
        let response = self.send(attempt, ask).await?;
        if !response.status().is_success() {
            return Err(self.refused(attempt, response).await);
        }
        match stated_digest(&response, attempt)? {
            Some(got) if got != descriptor.digest => {
                let (action, wanted) = (attempt.action.to_owned(), descriptor.digest);
                Err(RegistryError::DigestMismatch { action, wanted, got })
            }
            _ => Ok(response.headers().contains_key(SUBJECT_HEADER)),
        }
    }
}

/// A descriptor from a HEAD's headers, if they are all there.
fn described(response: &Response, attempt: &RequestContext<'_>) -> Result<Option<Descriptor>, RegistryError> {
    let length =
        response.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let digest = stated_digest(response, attempt)?;
    Ok(match (content_type(response), digest, length) {
        (Some(kind), Some(digest), Some(size)) => Some(Descriptor::new(kind, digest, size)),
        _ => None,
    })
}

fn stated_digest(response: &Response, attempt: &RequestContext<'_>) -> Result<Option<Digest>, RegistryError> {
    let Some(value) = response.headers().get(DIGEST_HEADER) else { return Ok(None) };
    let digest = value.to_str().ok().and_then(|text| text.parse().ok());
    digest.map(Some).ok_or_else(|| attempt.protocol("its Docker-Content-Digest is no sha256 digest"))
}

/// The content type, if it is one that we asked for: some servers say `application/json`.
fn content_type(response: &Response) -> Option<&'static str> {
    let value = response.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    let bare = value.split(';').next()?.trim();
    ACCEPTED.into_iter().find(|kind| *kind == bare)
}

/// What the document says of itself; older OCI documents leave it out, and differ in members.
fn own_media_type(bytes: &[u8]) -> Option<&'static str> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    match value.get("mediaType").and_then(Value::as_str) {
        Some(kind) => ACCEPTED.into_iter().find(|known| *known == kind),
        None => value.get("manifests").map(|_| media_type::INDEX),
    }
}

/// A document's bytes, at most [`MAX_DOCUMENT_BYTES`].
pub(super) async fn read_document(
    attempt: &RequestContext<'_>,
    mut response: Response,
) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| attempt.transport(error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(attempt.protocol(format!("its manifest is over {MAX_DOCUMENT_BYTES} bytes")));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_media_type_is_told_by_its_members() {
        assert_eq!(own_media_type(br#"{"manifests":[]}"#), Some(media_type::INDEX));
        assert_eq!(own_media_type(br#"{"layers":[]}"#), None);
        assert_eq!(
            own_media_type(br#"{"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}"#),
            Some(media_type::DOCKER_MANIFEST)
        );
        assert_eq!(own_media_type(b"x"), None);
    }

    /// `layers` has no dependency on oci-client: the constants of both must name the same types.
    #[test]
    fn media_types_and_annotations_agree_with_oci_client() {
        use carafe_layers::image;
        use oci_client::{annotations, manifest};
        for (ours, theirs) in [
            (media_type::INDEX, manifest::OCI_IMAGE_INDEX_MEDIA_TYPE),
            (media_type::MANIFEST, manifest::OCI_IMAGE_MEDIA_TYPE),
            (media_type::CONFIG, manifest::IMAGE_CONFIG_MEDIA_TYPE),
            (media_type::LAYER_TAR, manifest::IMAGE_LAYER_MEDIA_TYPE),
            (media_type::LAYER_GZIP, manifest::IMAGE_LAYER_GZIP_MEDIA_TYPE),
            (media_type::DOCKER_INDEX, manifest::IMAGE_MANIFEST_LIST_MEDIA_TYPE),
            (media_type::DOCKER_MANIFEST, manifest::IMAGE_MANIFEST_MEDIA_TYPE),
            (media_type::DOCKER_CONFIG, manifest::IMAGE_DOCKER_CONFIG_MEDIA_TYPE),
            (media_type::DOCKER_LAYER_GZIP, manifest::IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE),
            (media_type::DOCKER_LAYER_TAR, manifest::IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE),
            (image::BASE_NAME, annotations::ORG_OPENCONTAINERS_IMAGE_BASE_NAME),
            (image::BASE_DIGEST, annotations::ORG_OPENCONTAINERS_IMAGE_BASE_DIGEST),
            (carafe_layers::oci::REF_NAME, annotations::ORG_OPENCONTAINERS_IMAGE_REF_NAME),
        ] {
            assert_eq!(ours, theirs);
        }
    }
}
