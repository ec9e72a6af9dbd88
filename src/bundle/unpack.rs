//! From a bundle into this machine's stores.

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
use crate::parallel;

/// BodyStore that are read at once: most are small, and a registry takes its time for each.
const MAX_PARALLEL: usize = 8;

impl Bundle {
    /// Brings the commits and the bodies into the stores, as far as they are not there; what gets
    /// there is whole and has the digest that names it. Returns the lock's apps.
    ///
    /// Blobs that are nowhere to be found are all named in one error.
    pub fn unpack(
        &self,
        commits: &Store,
        bodies: &BodyStore,
        progress: &Progress,
    ) -> Result<Vec<PinnedApp>, BundleError> {
        let missing = Missing::default();
        // An empty body is no blob.
        bodies.put(std::io::empty())?;
        let record = self.record().bodies();
        let wanted: Vec<&Descriptor> = record.keys().filter_map(|body| self.blobs.get(body)).collect();
        let total = total_size(wanted.iter().copied());
        let task = progress.task(Stage::Fetch, "bundle", Some(total), Unit::Bytes);
        parallel::map(wanted, MAX_PARALLEL, |body| {
            // One that is damaged is as good as not there, and has to be brought again.
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
        missing.none(self)?;
        task.finish(format!("{} bodies, {} commits", record.len(), apps.len()));
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

    /// The app with its commit in the store; nothing if its pack is missing.
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
            let reason = format!("commit {} of app `{}` is not what its lock says", app.commit, app.name);
            return Err(BundleError::Contradiction { name, reason });
        }
        Ok(Some(PinnedApp { locked: app.clone(), checkout }))
    }

    /// Whether the images' layers are there. They are read and verified by who uses them.
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
    /// Opens a blob, or notes that it is nowhere.
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

    fn none(self, bundle: &Bundle) -> Result<(), BundleError> {
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
