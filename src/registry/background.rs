//! Blobs that go ahead of their image to one registry, while the image is still being made.

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

use super::Registry;
use super::error::RegistryError;
use super::mount_candidates::MountCandidates;
use super::push::MAX_PARALLEL_UPLOADS;
use super::push_report::Delivery;
use super::reference::Repository;
use super::repository_client::{Destination, RepositoryClient};

/// Opens a blob's bytes, on whichever thread sends them.
type Open = dyn Fn() -> Result<Box<dyn Read + Send>, SourceError> + Send + Sync;

/// A blob whose bytes are there.
#[derive(Clone)]
pub(super) struct ReadyBlob {
    pub descriptor: Descriptor,
    pub open: Arc<Open>,
    pub known: MountCandidates,
}

/// Sends what is ready to one registry's repositories. Dropped, it begins nothing further; what is
/// under way ends by itself, and nobody hears of it.
pub(super) struct UploadQueue {
    pub destinations: Vec<Destination>,
    board: Arc<QueueState>,
    queue: Option<Sender<ReadyBlob>>,
    waiting: Arc<Mutex<Receiver<ReadyBlob>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// What the workers share.
struct QueueState {
    registry: Registry,
    progress: Progress,
    repositories: Vec<Repository>,
    asked: Mutex<BTreeSet<Digest>>,
    arrived: Mutex<BTreeMap<Repository, Uploaded>>,
    is_over: AtomicBool,
}

/// What came to one repository so far.
#[derive(Default)]
pub(super) struct Uploaded {
    /// How.
    pub deliveries: BTreeMap<Digest, Delivery>,
    /// Who is told of the push.
    pub told: Option<ProgressTask>,
}

/// A push's task, and the total that it knows of.
pub(super) struct ProgressTask {
    pub task: Task,
    pub total: u64,
}

impl UploadQueue {
    /// Asks nothing yet.
    pub fn new(registry: &Registry, destinations: Vec<Destination>, progress: &Progress) -> Self {
        let (queue, waiting) = mpsc::channel();
        let board = QueueState {
            registry: registry.clone(),
            progress: progress.clone(),
            repositories: destinations.iter().map(|one| one.repository.clone()).collect(),
            asked: Mutex::default(),
            arrived: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        Self {
            destinations,
            board: Arc::new(board),
            queue: Some(queue),
            waiting: Arc::new(Mutex::new(waiting)),
            workers: Mutex::default(),
        }
    }

    /// Sends it as soon as there is a turn for it, and returns at once.
    pub fn send(&self, blob: ReadyBlob) {
        if self.board.is_over() || !lock(&self.board.asked).insert(blob.descriptor.digest) {
            return;
        }
        self.board.announce(blob.descriptor.size);
        let Some(queue) = &self.queue else { return };
        // It fails only when nobody holds the other end, and we do.
        let _ = queue.send(blob);
        let mut workers = lock(&self.workers);
        if workers.len() < MAX_PARALLEL_UPLOADS {
            let (board, waiting) = (Arc::clone(&self.board), Arc::clone(&self.waiting));
            // Where no thread is to be had, it is sent with the image.
            workers.extend(Builder::new().spawn(move || board.work(&waiting)));
        }
    }

    /// Sends nothing further; says why.
    pub fn give_up(&self, error: &RegistryError) {
        self.board.give_up(error);
    }

    /// Waits until all that was to be sent has arrived or failed, and tells what arrived. From here
    /// on the push's time counts.
    pub fn join(&mut self) -> BTreeMap<Repository, Uploaded> {
        lock(&self.board.arrived)
            .values()
            .filter_map(|arrived| arrived.told.as_ref())
            .for_each(|told| told.task.awaited());
        self.queue = None;
        for worker in lock(&self.workers).drain(..) {
            // One that panicked has sent less.
            let _ = worker.join();
        }
        mem::take(&mut lock(&self.board.arrived))
    }
}

impl Drop for UploadQueue {
    fn drop(&mut self) {
        self.board.is_over.store(true, Ordering::Relaxed);
        lock(&self.board.arrived).clear();
    }
}

impl QueueState {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn give_up(&self, error: &RegistryError) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            let message = format!("{}; it is tried again when the image is done", error_chain(error));
            self.progress.warn(message);
        }
    }

    /// Tells every repository's task that so many bytes more are to come.
    fn announce(&self, bytes: u64) {
        let mut arrived = lock(&self.arrived);
        for repository in &self.repositories {
            let told =
                arrived.entry(repository.clone()).or_default().told.get_or_insert_with(|| ProgressTask {
                    task: self.progress.task(Stage::Push, repository.to_string(), Some(0), Unit::Bytes),
                    total: 0,
                });
            told.task.extend(bytes);
            told.total = told.total.saturating_add(bytes);
        }
    }

    fn work(&self, waiting: &Mutex<Receiver<ReadyBlob>>) {
        loop {
            let next = lock(waiting).recv();
            let Ok(blob) = next else { return };
            if !self.is_over()
                && let Err(error) = self.bring(blob)
            {
                self.give_up(&error);
            }
        }
    }

    /// To one repository after the other: the second takes it from the first.
    fn bring(&self, ReadyBlob { descriptor, open, mut known }: ReadyBlob) -> Result<(), RegistryError> {
        for repository in &self.repositories {
            let Some(meter) = self.meter(repository) else { return Ok(()) };
            let courier =
                RepositoryClient::new(&self.registry, repository, &known, [&descriptor].into_iter());
            let delivery = courier.blob(&descriptor, &*open, &meter)?;
            if delivery != Delivery::Sent {
                meter.advance(descriptor.size);
            }
            if let Some(arrived) = lock(&self.arrived).get_mut(repository) {
                arrived.deliveries.insert(descriptor.digest, delivery);
            }
            known.add(repository, [descriptor.digest]);
        }
        Ok(())
    }

    /// None when nobody waits for the push any more.
    fn meter(&self, repository: &Repository) -> Option<Meter> {
        Some(lock(&self.arrived).get(repository)?.told.as_ref()?.task.meter())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
