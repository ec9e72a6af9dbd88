//! Lists the inputs of an image from its lock and its recording.

use std::fs::File;

use carafe_builder::egress::{Method, RecordedRequest, RecordedResponse, Recording};
use carafe_builder::git;
use carafe_builder::lock::{Lock, LockedApp, LockedImage, LockedSource};
use carafe_builder::parallel;
use carafe_layers::digest::Digest;
use carafe_layers::text::escape_bytes;
use serde::Serialize;

use super::material::{Kind, Material};
use super::{archive, package};

/// The maximum number of packages that are read in parallel.
const MAX_PARALLEL: usize = 4;

/// The inputs of an image. The JSON form is stable: the same lock and recording always give the same
/// list in the same order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Materials {
    /// The digest of the lock.
    pub lock_digest: Digest,
    /// The digest of the recording.
    pub recording_digest: Option<Digest>,
    /// The apps in the order of the lock, the images, then the responses sorted by URL.
    pub materials: Vec<Material>,
}

/// The source of response bodies and of the files of apps.
pub trait MaterialSource: Sync {
    /// A response body, if it is available.
    fn body(&self, digest: &Digest) -> Option<File>;

    /// The text of an app's `hooks.py`, if the commit is available.
    fn hooks(&self, app: &LockedApp) -> Option<String>;

    /// The digest and size of an app's pack, if there is one.
    fn pack(&self, app: &LockedApp) -> Option<(Digest, u64)>;

    /// The total size of an image's layers in bytes, if it is known.
    fn image_size(&self, image: &LockedImage) -> Option<u64>;
}

impl Materials {
    /// Lists all materials. An input that `source` does not have is listed with what the lock and its
    /// URL say about it.
    pub fn list(lock: &Lock, recording: &Recording, source: &dyn MaterialSource) -> Self {
        let mut materials: Vec<Material> = lock.apps.iter().map(|locked| app(locked, source)).collect();
        materials.extend([&lock.build_image, &lock.base_image].map(|locked| image(locked, source)));
        let exchanges: Vec<(&RecordedRequest, &RecordedResponse)> = recording.entries().collect();
        let listed = parallel::map(exchanges, MAX_PARALLEL, |(request, response)| {
            Ok::<_, std::convert::Infallible>(downloaded(request, response, source))
        });
        materials.extend(listed.unwrap_or_default());
        Self::of(lock.digest(), lock.recording, materials)
    }

    pub(crate) fn of(
        lock_digest: Digest,
        recording_digest: Option<Digest>,
        materials: Vec<Material>,
    ) -> Self {
        Self { lock_digest, recording_digest, materials }
    }
}

fn app(locked: &LockedApp, source: &dyn MaterialSource) -> Material {
    let url = match &locked.source {
        LockedSource::Git { url, .. } => url.clone(),
        LockedSource::Local { path } => path.clone(),
    };
    let pack = source.pack(locked);
    Material {
        kind: Kind::App,
        name: locked.name.clone(),
        version: locked.reference().map(|(_, name)| name.clone()),
        source: url,
        commit: Some(locked.commit.clone()),
        digest: pack.map(|(digest, _)| digest),
        size: pack.map(|(_, size)| size),
        license: source.hooks(locked).as_deref().and_then(package::app_license),
    }
}

fn image(locked: &LockedImage, source: &dyn MaterialSource) -> Material {
    Material {
        kind: Kind::Image,
        name: locked.reference.clone(),
        version: None,
        source: locked.reference.clone(),
        commit: None,
        digest: Some(locked.digest),
        size: source.image_size(locked),
        license: None,
    }
}

fn downloaded(
    request: &RecordedRequest,
    response: &RecordedResponse,
    source: &dyn MaterialSource,
) -> Material {
    let mut material = Material {
        kind: Kind::Metadata,
        name: request.url.file_name().to_owned(),
        version: None,
        source: request.url.to_string(),
        commit: None,
        digest: Some(response.body),
        size: Some(response.size),
        license: None,
    };
    if response.status != 200 {
        return material;
    }
    if request.method == Method::Post {
        describe_clone(&mut material, request, response, source);
        return material;
    }
    let Some(guess) = package::Guess::of(&request.url) else { return material };
    let found = source.body(&response.body).and_then(|body| archive::metadata(&guess, body));
    let found = found.unwrap_or_default();
    material.kind = found.kind.unwrap_or(guess.kind);
    material.name = shown(found.name.or(guess.name).unwrap_or(material.name));
    material.version = found.version.or(guess.version).map(shown);
    material.license = found.license.map(shown);
    material
}

/// Describes a git clone, if the response contains a commit.
fn describe_clone(
    material: &mut Material,
    request: &RecordedRequest,
    response: &RecordedResponse,
    source: &dyn MaterialSource,
) {
    let path = request.url.as_url().path();
    let Some(repository) = path.strip_suffix("/git-upload-pack") else { return };
    let Some(commit) = source.body(&response.body).and_then(git::first_commit) else { return };
    let name = repository.rsplit('/').next().unwrap_or_default();
    material.kind = Kind::Git;
    material.name = name.strip_suffix(".git").unwrap_or(name).to_owned();
    material.source = request.url.as_str().trim_end_matches("/git-upload-pack").to_owned();
    material.commit = Some(commit);
}

/// Text from a package, made safe for a terminal and cut to a maximum length.
fn shown(text: String) -> String {
    const MAX_TEXT_CHARS: usize = 200;
    escape_bytes(text.chars().take(MAX_TEXT_CHARS).collect::<String>().as_bytes())
}
