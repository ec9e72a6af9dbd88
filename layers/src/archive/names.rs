//! Names of members and annotations that readers and writers of archives share.

/// The list of images in a docker archive.
pub(super) const DOCKER_MANIFEST: &str = "manifest.json";

/// The directory of the blobs.
pub(super) const BLOBS: &str = "blobs/sha256/";

/// The annotation with which Docker and containerd store an image's full name.
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";
