//! Blobs that go ahead of their image to one registry, while the image is still being made.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use carafe_builder::progress::{Progress, Stage, Task, Unit};
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::SourceError;

use super::Registry;
use super::destination::{Courier, Destination};
use super::failure::RegistryError;
use super::known::KnownBlobs;
use super::push::UPLOADS_AT_ONCE;
use super::reference::Repository;
use super::report::Delivery;

/// Opens a blob's bytes, on whichever thread sends them.
type Open = dyn Fn() -> Result<Box<dyn Read + Send>, SourceError> + Send + Sync;

/// A blob whose bytes are there.
#[derive(Clone)]
pub(super) struct ReadyBlob {
    pub descriptor: Descriptor,
    pub open: Arc<Open>,
    pub known: KnownBlobs,
}

/// What is sent ahead to one registry's repositories. Dropped, it begins nothing further; what is
/// under way ends by itself.
pub(super) struct Ahead {
    pub destinations: Vec<Destination>,
    way: Arc<Way>,
    queue: Option<Sender<ReadyBlob>>,
    waiting: Arc<Mutex<Receiver<ReadyBlob>>>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// What the workers share.
struct Way {
    registry: Registry,
    progress: Progress,
    repositories: Vec<Repository>,
    asked: Mutex<BTreeSet<Digest>>,
    arrivals: Mutex<BTreeMap<Repository, Arrivals>>,
    is_over: AtomicBool,
}

/// What came to one repository so far.
#[derive(Default)]
pub(super) struct Arrivals {
    /// How.
    pub deliveries: BTreeMap<Digest, Delivery>,
    /// Who is told of the push, and of how many bytes he knows.
    pub task: Option<(Arc<Task>, u64)>,
}

impl Ahead {
    /// Asks nothing yet.
    pub fn new(registry: &Registry, destinations: Vec<Destination>, progress: &Progress) -> Self {
        let (queue, waiting) = mpsc::channel();
        let way = Way {
            registry: registry.clone(),
            progress: progress.clone(),
            repositories: destinations.iter().map(|one| one.repository.clone()).collect(),
            asked: Mutex::default(),
            arrivals: Mutex::default(),
            is_over: AtomicBool::new(false),
        };
        Self {
            destinations,
            way: Arc::new(way),
            queue: Some(queue),
            waiting: Arc::new(Mutex::new(waiting)),
            workers: Mutex::default(),
        }
    }

    /// Sends it as soon as there is a turn for it, and returns at once.
    pub fn send(&self, blob: ReadyBlob) {
        if !lock(&self.way.asked).insert(blob.descriptor.digest) {
            return;
        }
        self.way.announce(blob.descriptor.size);
        let Some(queue) = &self.queue else { return };
        // It fails only when all workers are gone, and each holds the other end.
        let _ = queue.send(blob);
        let mut workers = lock(&self.workers);
        if workers.len() < UPLOADS_AT_ONCE {
            let (way, waiting) = (Arc::clone(&self.way), Arc::clone(&self.waiting));
            workers.push(thread::spawn(move || way.work(&waiting)));
        }
    }

    /// Waits until all that was to be sent has arrived or failed, and tells what arrived.
    pub fn arrive(&mut self) -> BTreeMap<Repository, Arrivals> {
        self.queue = None;
        for worker in lock(&self.workers).drain(..) {
            // One that panicked has sent less.
            let _ = worker.join();
        }
        mem::take(&mut lock(&self.way.arrivals))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.way.is_over.store(true, Ordering::Relaxed);
        lock(&self.way.arrivals).clear();
    }
}

impl Way {
    /// Tells every repository's task that so many bytes more are to come.
    fn announce(&self, bytes: u64) {
        let mut arrivals = lock(&self.arrivals);
        for repository in &self.repositories {
            let (task, total) =
                arrivals.entry(repository.clone()).or_default().task.get_or_insert_with(|| {
                    let task = self.progress.task(Stage::Push, repository.to_string(), Some(0), Unit::Bytes);
                    (Arc::new(task), 0)
                });
            task.extend(bytes);
            *total += bytes;
        }
    }

    fn work(&self, waiting: &Mutex<Receiver<ReadyBlob>>) {
        loop {
            let next = lock(waiting).recv();
            let Ok(blob) = next else { return };
            if !self.is_over.load(Ordering::Relaxed)
                && let Err(error) = self.bring(blob)
                && !self.is_over.swap(true, Ordering::Relaxed)
            {
                let message = format!("{error}; when the image is done, this is tried again");
                self.progress.warn(message);
            }
        }
    }

    /// To one repository after the other: the second takes it from the first.
    fn bring(&self, blob: ReadyBlob) -> Result<(), RegistryError> {
        let (digest, mut known) = (blob.descriptor.digest, blob.known);
        for repository in &self.repositories {
            let task = lock(&self.arrivals).get(repository).and_then(|all| all.task.clone());
            // None when nobody waits for it any more.
            let Some((task, _)) = task else { return Ok(()) };
            let courier = Courier::new(&self.registry, repository, &known, [&blob.descriptor].into_iter());
            let delivery = courier.blob(&blob.descriptor, &*blob.open, &task)?;
            if delivery != Delivery::Sent {
                task.advance(blob.descriptor.size);
            }
            drop(task);
            if let Some(arrivals) = lock(&self.arrivals).get_mut(repository) {
                arrivals.deliveries.insert(digest, delivery);
            }
            known.add(repository, [digest]);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
