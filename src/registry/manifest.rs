//! The requests for manifests and indexes: HEAD, GET and PUT.

use carafe_layers::digest::Digest;
use carafe_layers::oci::{Descriptor, media_type};
use carafe_layers::source::MAX_DOCUMENT_BYTES;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use super::error::{RegistryError, RequestContext};
use super::http::{Client, header};

/// The accepted media types: OCI's and Docker's, of an index and of one image.
const ACCEPTED: [&str; 4] =
    [media_type::INDEX, media_type::MANIFEST, media_type::DOCKER_INDEX, media_type::DOCKER_MANIFEST];
/// The header that a registry with the referrers API sends for a manifest that has a subject.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// The header with the digest of what a registry has stored.
const STORED_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The descriptor of `name` (a tag or a digest); `None` if it does not exist. If the response to HEAD
/// has no digest, the manifest is read.
pub(crate) async fn find(
    client: &Client,
    context: &RequestContext<'_>,
    name: &str,
) -> Result<Option<Descriptor>, RegistryError> {
    let request = |http: &reqwest::Client, url: &str| {
        http.head(format!("{url}/manifests/{name}")).header(ACCEPT, ACCEPTED.join(", "))
    };
    let response = client.send(context, request).await?;
    match response.status() {
        StatusCode::NOT_FOUND => Ok(None),
        StatusCode::OK => match head_descriptor(&response, context)? {
            Some(descriptor) => Ok(Some(descriptor)),
            None => Ok(Some(get(client, context, name).await?.0)),
        },
        _ => Err(client.rejection(context, response).await),
    }
}

/// The manifest or index `name` (a tag or a digest): its bytes, at most [`MAX_DOCUMENT_BYTES`], and
/// their descriptor.
pub(crate) async fn get(
    client: &Client,
    context: &RequestContext<'_>,
    name: &str,
) -> Result<(Descriptor, Vec<u8>), RegistryError> {
    let request = |http: &reqwest::Client, url: &str| {
        http.get(format!("{url}/manifests/{name}")).header(ACCEPT, ACCEPTED.join(", "))
    };
    let response = client.send(context, request).await?;
    if response.status() != StatusCode::OK {
        return Err(client.rejection(context, response).await);
    }
    let (stated, media_type) = (stated_digest(&response, context)?, content_type(&response));
    let bytes = read_document(context, response).await?;
    let got = Digest::of(&bytes);
    if let Some(expected) = name.parse().ok().or(stated).filter(|expected| *expected != got) {
        return Err(RegistryError::DigestMismatch { action: context.action.to_owned(), expected, got });
    }
    let media_type = media_type.or_else(|| own_media_type(&bytes)).unwrap_or(media_type::MANIFEST);
    Ok((Descriptor::of(media_type, &bytes), bytes))
}

/// Whether a registry with the referrers API has stored a manifest's `subject`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    Listed,
    NotListed,
}

/// Stores a manifest under `name` (a tag or a digest).
pub(crate) async fn put(
    client: &Client,
    context: &RequestContext<'_>,
    name: &str,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> Result<Subject, RegistryError> {
    let request = |http: &reqwest::Client, url: &str| {
        http.put(format!("{url}/manifests/{name}"))
            .header(CONTENT_TYPE, &descriptor.media_type)
            .body(bytes.to_vec())
    };
    let response = client.send(context, request).await?;
    if !response.status().is_success() {
        return Err(client.rejection(context, response).await);
    }
    match stated_digest(&response, context)? {
        Some(got) if got != descriptor.digest => {
            let (action, expected) = (context.action.to_owned(), descriptor.digest);
            Err(RegistryError::DigestMismatch { action, expected, got })
        }
        _ if response.headers().contains_key(SUBJECT) => Ok(Subject::Listed),
        _ => Ok(Subject::NotListed),
    }
}

/// The descriptor in the headers of a response to HEAD, if all of them are present.
fn head_descriptor(
    response: &Response,
    context: &RequestContext<'_>,
) -> Result<Option<Descriptor>, RegistryError> {
    let size = header(response, &CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let digest = stated_digest(response, context)?;
    Ok(match (content_type(response), digest, size) {
        (Some(media_type), Some(digest), Some(size)) => Some(Descriptor::new(media_type, digest, size)),
        _ => None,
    })
}

fn stated_digest(response: &Response, context: &RequestContext<'_>) -> Result<Option<Digest>, RegistryError> {
    let Some(value) = response.headers().get(STORED_DIGEST) else { return Ok(None) };
    let digest = value.to_str().ok().and_then(|text| text.parse().ok());
    digest.map(Some).ok_or_else(|| context.protocol("its Docker-Content-Digest is not a sha256 digest"))
}

/// The content type, if it is one of the accepted: some servers send `application/json`.
fn content_type(response: &Response) -> Option<&'static str> {
    let media_type = header(response, &CONTENT_TYPE)?.split(';').next()?.trim();
    ACCEPTED.into_iter().find(|accepted| *accepted == media_type)
}

/// The document's own `mediaType`. Older OCI documents have none; an index is recognized by its
/// member `manifests`.
fn own_media_type(bytes: &[u8]) -> Option<&'static str> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    match value.get("mediaType").and_then(Value::as_str) {
        Some(media_type) => ACCEPTED.into_iter().find(|accepted| *accepted == media_type),
        None => value.get("manifests").map(|_| media_type::INDEX),
    }
}

/// The bytes of a document, at most [`MAX_DOCUMENT_BYTES`].
pub(crate) async fn read_document(
    context: &RequestContext<'_>,
    mut response: Response,
) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| context.transport(error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
            return Err(context.protocol("its manifest is larger than 4 MiB"));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_an_index_without_media_type_by_its_members() {
        assert_eq!(own_media_type(br#"{"manifests":[]}"#), Some(media_type::INDEX));
        assert_eq!(own_media_type(br#"{"layers":[]}"#), None);
        assert_eq!(
            own_media_type(br#"{"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}"#),
            Some(media_type::DOCKER_MANIFEST)
        );
        assert_eq!(own_media_type(b"x"), None);
    }

    /// `layers` has no dependency on oci-client: both must have the same constants.
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
