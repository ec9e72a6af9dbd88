//! Background uploads: blobs of an image that is not complete yet, to one registry.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use carafe_builder::error_chain::error_chain;
use carafe_builder::progress::{Meter, Progress, Stage, Task, Unit};
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;

use super::client::Registry;
use super::error::RegistryError;
use super::mount_candidates::MountCandidates;
use super::reference::Repository;
use super::report::Delivery;
use super::repository_client::{Destination, RepositoryClient};

/// Maximum number of parallel uploads to one repository, and of background uploads to one registry.
pub const MAX_PARALLEL_UPLOADS: usize = 4;

/// Opens a blob on the thread that sends it.
type Open = dyn Fn() -> Result<Box<dyn Read + Send>, SourceError> + Send + Sync;

/// A blob whose bytes are available.
#[derive(Clone)]
pub(crate) struct ReadyBlob {
    pub(crate) descriptor: Descriptor,
    pub(crate) open: Arc<Open>,
    pub(crate) mount_candidates: MountCandidates,
}

/// Uploads blobs to the repositories of one registry in the background. After a drop it starts no
/// further upload; those in progress end without being reported.
pub(crate) struct UploadQueue {
    pub(crate) destinations: Vec<Destination>,
    state: Arc<QueueState>,
    sender: Option<Sender<ReadyBlob>>,
    receiver: Arc<Mutex<Receiver<ReadyBlob>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// The state that the workers share.
struct QueueState {
    registry: Registry,
    progress: Progress,
    repositories: Vec<Repository>,
    /// The digests of all blobs that were queued.
    queued: Mutex<BTreeSet<Digest>>,
    uploaded: Mutex<BTreeMap<Repository, Uploaded>>,
    is_stopped: AtomicBool,
}

/// The background uploads to one repository.
#[derive(Default)]
pub(crate) struct Uploaded {
    /// How each blob got into the repository.
    pub(crate) deliveries: BTreeMap<Digest, Delivery>,
    pub(crate) progress: Option<ProgressTask>,
}

/// The progress task of a push to one repository, with its total so far.
pub(crate) struct ProgressTask {
    pub(crate) task: Task,
    pub(crate) total: u64,
}

impl UploadQueue {
    /// Sends no request.
    pub(crate) fn new(registry: &Registry, destinations: Vec<Destination>, progress: &Progress) -> Self {
        let (sender, receiver) = mpsc::channel();
        let state = QueueState {
            registry: registry.clone(),
            progress: progress.clone(),
            repositories: destinations.iter().map(|one| one.repository.clone()).collect(),
            queued: Mutex::default(),
            uploaded: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        };
        Self {
            destinations,
            state: Arc::new(state),
            sender: Some(sender),
            receiver: Arc::new(Mutex::new(receiver)),
            workers: Mutex::default(),
        }
    }

    /// Queues a blob, and returns immediately. A digest is queued once.
    pub(crate) fn send(&self, blob: ReadyBlob) {
        if self.state.is_stopped() || !lock(&self.state.queued).insert(blob.descriptor.digest) {
            return;
        }
        self.state.extend_tasks(blob.descriptor.size);
        let Some(sender) = &self.sender else { return };
        // Cannot fail: `self` owns the receiver.
        let _ = sender.send(blob);
        let mut workers = lock(&self.workers);
        if workers.len() < MAX_PARALLEL_UPLOADS {
            let (state, receiver) = (Arc::clone(&self.state), Arc::clone(&self.receiver));
            // If no thread can be started, the push at the end sends the blob.
            workers.extend(Builder::new().spawn(move || state.work(&receiver)));
        }
    }

    /// Starts no further upload, and warns of the cause.
    pub(crate) fn stop(&self, error: &RegistryError) {
        self.state.stop(error);
    }

    /// Waits until all queued uploads are complete or have failed, and returns the complete ones. From
    /// here on the time of the push is measured.
    pub(crate) fn join(&mut self) -> BTreeMap<Repository, Uploaded> {
        lock(&self.state.uploaded)
            .values()
            .filter_map(|uploaded| uploaded.progress.as_ref())
            .for_each(|progress| progress.task.awaited());
        self.sender = None;
        for worker in lock(&self.workers).drain(..) {
            // A worker that panicked has sent fewer blobs.
            let _ = worker.join();
        }
        mem::take(&mut lock(&self.state.uploaded))
    }
}

impl Drop for UploadQueue {
    fn drop(&mut self) {
        self.state.is_stopped.store(true, Ordering::Relaxed);
        lock(&self.state.uploaded).clear();
    }
}

impl QueueState {
    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    fn stop(&self, error: &RegistryError) {
        if !self.is_stopped.swap(true, Ordering::Relaxed) {
            let cause = error_chain(error);
            self.progress.warn(format!("{cause}; retrying when the image is complete"));
        }
    }

    /// Adds `bytes` to the total of each repository's progress task.
    fn extend_tasks(&self, bytes: u64) {
        let mut uploaded = lock(&self.uploaded);
        for repository in &self.repositories {
            let entry = uploaded.entry(repository.clone()).or_default();
            let progress = entry.progress.get_or_insert_with(|| ProgressTask {
                task: self.progress.task(Stage::Push, repository.to_string(), Some(0), Unit::Bytes),
                total: 0,
            });
            progress.task.extend(bytes);
            progress.total = progress.total.saturating_add(bytes);
        }
    }

    fn work(&self, receiver: &Mutex<Receiver<ReadyBlob>>) {
        loop {
            let next = lock(receiver).recv();
            let Ok(blob) = next else { return };
            if !self.is_stopped()
                && let Err(error) = self.upload(blob)
            {
                self.stop(&error);
            }
        }
    }

    /// Uploads a blob to one repository after the other, so that each can mount it from the one before.
    fn upload(&self, blob: ReadyBlob) -> Result<(), RegistryError> {
        let ReadyBlob { descriptor, open, mut mount_candidates } = blob;
        for repository in &self.repositories {
            let Some(meter) = self.meter(repository) else { return Ok(()) };
            let blobs = [&descriptor].into_iter();
            let client = RepositoryClient::new(&self.registry, repository, &mount_candidates, blobs);
            let delivery = client.push_blob(&descriptor, &*open, &meter)?;
            if delivery != Delivery::Sent {
                meter.advance(descriptor.size);
            }
            if let Some(uploaded) = lock(&self.uploaded).get_mut(repository) {
                uploaded.deliveries.insert(descriptor.digest, delivery);
            }
            mount_candidates.add(repository, [descriptor.digest]);
        }
        Ok(())
    }

    /// `None` after the queue was dropped.
    fn meter(&self, repository: &Repository) -> Option<Meter> {
        Some(lock(&self.uploaded).get(repository)?.progress.as_ref()?.task.meter())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
