//! Reads a bundle for the list of materials.

use std::fs::File;
use std::io::{self, Seek};

use carafe_builder::egress::BodyStore;
use carafe_builder::git::{Checkout, Store};
use carafe_builder::lock::{LockedApp, LockedImage};
use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::oci::total_size;
use carafe_layers::source::ImageSource;
use carafe_layers::verified::VerifiedReader;
use flate2::read::GzDecoder;

use super::open::Bundle;
use crate::materials::{MaterialSource, Materials};

/// A bundle, with the stores that its packages and commits are read from.
pub struct BundleMaterialSource<'a> {
    bundle: &'a Bundle,
    bodies: &'a BodyStore,
    scratch: &'a Store,
}

impl Bundle {
    /// The list of everything in the bundle. Packages are opened to read their metadata, from `bodies`
    /// or else from the bundle. Commits are unpacked into `scratch`. Blobs that a delta lacks are
    /// listed with what the lock and the recording say about them.
    pub fn materials(&self, bodies: &BodyStore, scratch: &Store) -> Materials {
        Materials::list(
            self.lock(),
            self.recording(),
            &BundleMaterialSource { bundle: self, bodies, scratch },
        )
    }
}

impl BundleMaterialSource<'_> {
    fn checkout(&self, app: &LockedApp) -> Option<Checkout> {
        let pack = self.bundle.blobs.get(self.bundle.contents.commits.get(&app.commit)?)?;
        let stream = VerifiedReader::new(self.bundle.sources.blob(pack).ok()?, pack);
        self.scratch.import(&app.commit, GzDecoder::new(stream)).ok()
    }
}

impl MaterialSource for BundleMaterialSource<'_> {
    fn body(&self, digest: &Digest) -> Option<File> {
        if let Ok(Some(file)) = self.bodies.open(digest) {
            return Some(file);
        }
        let blob = self.bundle.blobs.get(digest)?;
        let mut stream = VerifiedReader::new(self.bundle.sources.blob(blob).ok()?, blob);
        let mut file = tempfile::tempfile().ok()?;
        io::copy(&mut stream, &mut file).ok()?;
        file.rewind().ok()?;
        Some(file)
    }

    fn hooks(&self, app: &LockedApp) -> Option<String> {
        let text =
            self.scratch.read_file(&self.checkout(app)?, &format!("{0}/hooks.py", app.name)).ok()??;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn pack(&self, app: &LockedApp) -> Option<(Digest, u64)> {
        let digest = self.bundle.contents.commits.get(&app.commit)?;
        Some((*digest, self.bundle.blobs.get(digest)?.size))
    }

    fn image_size(&self, image: &LockedImage) -> Option<u64> {
        let entry = self.bundle.contents.images.get(&image.digest)?;
        let graph = Graph::at(&*self.bundle.sources, &entry.manifest).ok()?;
        Some(total_size(&graph.layers))
    }
}
