//! Imports a bundle into the stores of this machine.

use std::io::Read;
use std::sync::{Mutex, PoisonError};

use carafe_builder::egress::BodyStore;
use carafe_builder::git::Store;
use carafe_builder::lock::{LockedApp, PinnedApp};
use carafe_builder::progress::{Progress, Stage, Unit};
use carafe_layers::oci::{Descriptor, total_size};
use carafe_layers::source::{ImageSource, SourceError};
use carafe_layers::verified::VerifiedReader;
use flate2::read::GzDecoder;

use super::error::BundleError;
use super::open::Bundle;
use carafe_builder::parallel;

/// The maximum number of blobs that are read in parallel: most are small, and a registry adds latency
/// to each.
const MAX_PARALLEL: usize = 8;

impl Bundle {
    /// Imports the commits and bodies that the stores lack. Every imported object is complete and
    /// matches its digest. Returns the apps of the lock.
    ///
    /// All missing blobs are reported in one error.
    pub fn unpack(
        &self,
        commits: &Store,
        bodies: &BodyStore,
        progress: &Progress,
    ) -> Result<Vec<PinnedApp>, BundleError> {
        let missing = Missing::default();
        // An empty body is not stored as a blob.
        bodies.put(std::io::empty())?;
        let recorded = self.recording().bodies();
        let wanted: Vec<&Descriptor> = recorded.keys().filter_map(|body| self.blobs.get(body)).collect();
        let total = total_size(wanted.iter().copied());
        let task = progress.task(Stage::Fetch, "bundle", Some(total), Unit::Bytes);
        parallel::map(wanted, MAX_PARALLEL, |body| {
            // `open` returns nothing for a damaged body too, which is imported again.
            if bodies.open(&body.digest)?.is_none()
                && let Some(stream) = missing.open(self, body)?
            {
                self.body(bodies, body, stream)?;
            }
            task.advance(body.size);
            Ok::<_, BundleError>(())
        })?;
        self.image_layers(&missing)?;
        let apps = parallel::map(self.lock().apps.iter().collect(), MAX_PARALLEL, |app: &LockedApp| {
            self.commit(app, commits, &missing)
        })?;
        missing.into_result(self)?;
        task.finish(format!("{} bodies, {} commits", recorded.len(), apps.len()));
        Ok(apps.into_iter().flatten().collect())
    }

    fn body(&self, bodies: &BodyStore, body: &Descriptor, stream: impl Read) -> Result<(), BundleError> {
        match bodies.put(VerifiedReader::new(stream, body)) {
            Ok(_) => Ok(()),
            Err(carafe_builder::egress::BodyStoreError::Source(source)) => {
                Err(self.damaged("body", body, source))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The app, with its commit in the store; `None` if its pack is missing.
    fn commit(
        &self,
        app: &LockedApp,
        commits: &Store,
        missing: &Missing,
    ) -> Result<Option<PinnedApp>, BundleError> {
        let checkout = match commits.find(&app.commit)? {
            Some(checkout) => checkout,
            None => {
                let Some(pack) = self.contents.commits.get(&app.commit).and_then(|pack| self.blobs.get(pack))
                else {
                    return Ok(None);
                };
                let Some(stream) = missing.open(self, pack)? else { return Ok(None) };
                commits.import(&app.commit, GzDecoder::new(VerifiedReader::new(stream, pack)))?
            }
        };
        if (&checkout.tree, checkout.time) != (&app.tree, app.time) {
            let name = self.name();
            let reason = format!("commit {} of app `{}` does not match its lock", app.commit, app.name);
            return Err(BundleError::Contradiction { name, reason });
        }
        Ok(Some(PinnedApp { locked: app.clone(), checkout }))
    }

    /// Notes the missing layers of the images. The layers are verified when they are used.
    fn image_layers(&self, missing: &Missing) -> Result<(), BundleError> {
        for entry in self.contents.images.values() {
            let graph = carafe_layers::graph::Graph::at(&*self.sources, &entry.manifest)?;
            for layer in &graph.layers {
                missing.open(self, layer)?;
            }
        }
        Ok(())
    }

    fn damaged(&self, what: &str, blob: &Descriptor, source: std::io::Error) -> BundleError {
        BundleError::Blob { name: self.name(), what: format!("{what} {}", blob.digest), source }
    }
}

/// The blobs that no source has.
#[derive(Default)]
struct Missing(Mutex<Vec<Descriptor>>);

impl Missing {
    /// Opens a blob, or notes that it is missing.
    fn open(&self, bundle: &Bundle, blob: &Descriptor) -> Result<Option<Box<dyn Read + Send>>, BundleError> {
        match bundle.sources.blob(blob) {
            Ok(stream) => Ok(Some(stream)),
            Err(SourceError::NotFound { .. }) => {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push(blob.clone());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn into_result(self, bundle: &Bundle) -> Result<(), BundleError> {
        let mut missing = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        missing.sort_by_key(|blob| blob.digest);
        match missing.is_empty() {
            true => Ok(()),
            false => Err(BundleError::Missing {
                name: bundle.name(),
                bytes: total_size(&missing),
                blobs: missing.into_iter().map(|blob| blob.digest).collect(),
                bases: bundle.bases(),
            }),
        }
    }
}
