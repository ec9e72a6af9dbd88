//! Pushes an image, or an index with all of its images, to one or more references.
//!
//! The order makes a push atomic. Into each repository go the blobs, then the manifests by their
//! digests, each after everything that it refers to, and each is verified. The tags of a registry
//! move only after all of its repositories have the root.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Read;
use std::iter;
use std::sync::Arc;

use carafe_builder::progress::{Meter, Progress, Stage, Unit};
use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::oci::{Descriptor, total_size};
use carafe_layers::source::{ImageSource, ResolvedImage, SourceError};

use super::client::Registry;
use super::error::RegistryError;
use super::mount_candidates::MountCandidates;
use super::reference::{Reference, Repository};
use super::report::{BlobReport, Delivery, PushReport, summary};
use super::repository_client::{Destination, RepositoryClient};
use super::upload_queue::{MAX_PARALLEL_UPLOADS, ProgressTask, ReadyBlob, UploadQueue, Uploaded};
use carafe_builder::parallel;

/// Maximum number of registries that are pushed to at the same time.
const MAX_PARALLEL_REGISTRIES: usize = 4;

impl Registry {
    /// Pushes one image; see [`Self::push_graph`].
    pub fn push(
        &self,
        image: &ResolvedImage,
        blobs: &dyn ImageSource,
        targets: &[Reference],
        mount_candidates: &MountCandidates,
        progress: &Progress,
    ) -> Result<Vec<PushReport>, RegistryError> {
        self.push_graph(&Graph::of(image), blobs, targets, mount_candidates, progress)
    }

    /// Pushes all of `graph` (an image, an index of several, an artifact) to all `targets`; see
    /// [`PendingPush::finish`].
    pub fn push_graph(
        &self,
        graph: &Graph,
        blobs: &dyn ImageSource,
        targets: &[Reference],
        mount_candidates: &MountCandidates,
        progress: &Progress,
    ) -> Result<Vec<PushReport>, RegistryError> {
        self.start_push(targets, progress)?.finish(graph, blobs, mount_candidates)
    }

    /// Starts a push to all `targets` before the image is complete. Sends no request.
    pub fn start_push(
        &self,
        targets: &[Reference],
        progress: &Progress,
    ) -> Result<PendingPush, RegistryError> {
        let mirrors = self.executor.client.mirrors();
        let locate = |target: &Reference| Ok(target.with_repository(mirrors.locate(target.repository())?));
        let targets = targets.iter().map(locate).collect::<Result<Vec<_>, RegistryError>>()?;
        let mut registries: Vec<Vec<Destination>> = Vec::new();
        for one in Destination::group(&targets) {
            let is_same =
                |others: &&mut Vec<Destination>| others[0].repository.registry() == one.repository.registry();
            match registries.iter_mut().find(is_same) {
                Some(others) => others.push(one),
                None => registries.push(vec![one]),
            }
        }
        let queues =
            registries.into_iter().map(|destinations| UploadQueue::new(self, destinations, progress));
        Ok(PendingPush {
            registry: self.clone(),
            queues: queues.collect(),
            targets,
            progress: progress.clone(),
        })
    }
}

/// A push of an image that may not be complete yet. Its blobs can be uploaded in the background, so
/// that little is left to send when the image is complete. After a drop it starts no further
/// upload, and leaves unreferenced blobs behind.
pub struct PendingPush {
    registry: Registry,
    targets: Vec<Reference>,
    /// One for each registry.
    queues: Vec<UploadQueue>,
    progress: Progress,
}

impl PendingPush {
    /// Checks that the registries can be reached and accept a push; leaves nothing there. Fails if none
    /// of them does: this should be known before a build of hours. If only some do not, that is a
    /// warning, and [`Self::finish`] tries them again. A busy registry is not waited for.
    pub fn check(&self) -> Result<(), RegistryError> {
        let mount_candidates = MountCandidates::default();
        let check = |queue: &UploadQueue| {
            let mut clients = queue.destinations.iter().map(|one| {
                RepositoryClient::new(&self.registry, &one.repository, &mount_candidates, iter::empty())
            });
            Ok::<_, Infallible>(clients.try_for_each(|client| client.check()).err())
        };
        let Ok(errors) = parallel::map(self.queues.iter().collect(), MAX_PARALLEL_REGISTRIES, check);
        let has_success = errors.iter().any(Option::is_none);
        let mut failed: Vec<_> =
            self.queues.iter().zip(errors).filter_map(|(queue, error)| Some((queue, error?))).collect();
        let last = if has_success { None } else { failed.pop() };
        failed.iter().for_each(|(queue, error)| queue.stop(error));
        last.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Uploads a blob of the image in the background, and returns immediately. `open` opens the blob if
    /// its bytes have to be sent.
    ///
    /// A failure is a warning, after which no further blob is uploaded in the background to that
    /// registry; [`Self::finish`] sends what is missing.
    pub fn send(
        &self,
        descriptor: &Descriptor,
        mount_candidates: &MountCandidates,
        open: impl Fn() -> Result<Box<dyn Read + Send>, SourceError> + Send + Sync + 'static,
    ) {
        let mount_candidates = mount_candidates.with_mirrors(self.registry.executor.client.mirrors());
        let blob = ReadyBlob { descriptor: descriptor.clone(), open: Arc::new(open), mount_candidates };
        self.queues.iter().for_each(|queue| queue.send(blob.clone()));
    }

    /// Pushes all of `graph`; `blobs` has the blobs that must be sent. Returns one report for each
    /// repository, in the order of the targets. Several targets in one repository get their blobs
    /// once. Blobs that were uploaded in the background are checked again, and reported as they were
    /// delivered then.
    ///
    /// Registries are pushed to at the same time. In each, no tag moves unless all of its repositories
    /// have all of the graph; one that fails does not stop the others
    /// ([`RegistryError::PartialPush`]). A failure leaves unreferenced blobs behind; the next push of
    /// the same image skips them. Fails before a manifest is sent if a target has another digest than
    /// the root.
    pub fn finish(
        self,
        graph: &Graph,
        blobs: &dyn ImageSource,
        mount_candidates: &MountCandidates,
    ) -> Result<Vec<PushReport>, RegistryError> {
        let Self { registry, targets, queues, progress } = self;
        check_digests(graph.root.descriptor.digest, &targets)?;
        let mount_candidates = mount_candidates.with_mirrors(registry.executor.client.mirrors());
        let registries = queues.len();
        let push = |mut queue: UploadQueue| {
            let uploaded = queue.join();
            let push = GraphPush { registry: &registry, graph, blobs, progress: &progress };
            Ok::<_, Infallible>(push.to_registry(&queue.destinations, &mount_candidates, uploaded))
        };
        let Ok(results) = parallel::map(queues, MAX_PARALLEL_REGISTRIES, push);
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(reports) => done.extend(reports),
                Err(error) => failed.push(error),
            }
        }
        match failed.pop() {
            None => {
                let order = |report: &PushReport| {
                    targets.iter().position(|target| *target.repository() == report.target)
                };
                done.sort_by_key(order);
                Ok(done)
            }
            Some(only) if registries == 1 => Err(only),
            Some(last) => {
                failed.push(last);
                Err(RegistryError::PartialPush { done, failed, registries })
            }
        }
    }
}

/// A target may name the digest that it must get.
fn check_digests(digest: Digest, targets: &[Reference]) -> Result<(), RegistryError> {
    for target in targets {
        if let Some(expected) = target.digest().filter(|expected| *expected != digest) {
            let action = format!("push the image as {target}");
            return Err(RegistryError::DigestMismatch { action, expected, got: digest });
        }
    }
    Ok(())
}

/// The push of a complete graph.
struct GraphPush<'a> {
    registry: &'a Registry,
    graph: &'a Graph,
    blobs: &'a dyn ImageSource,
    progress: &'a Progress,
}

impl GraphPush<'_> {
    /// Pushes to all repositories of one registry; no tag moves unless all of them succeed.
    fn to_registry(
        &self,
        destinations: &[Destination],
        mount_candidates: &MountCandidates,
        mut uploaded: BTreeMap<Repository, Uploaded>,
    ) -> Result<Vec<PushReport>, RegistryError> {
        let (mut candidates, mut reports) = (mount_candidates.clone(), Vec::new());
        let root = &self.graph.root;
        for Destination { repository, tags } in destinations {
            let client = RepositoryClient::new(self.registry, repository, &candidates, self.graph.blobs());
            let blobs =
                self.push_blobs(&client, repository, uploaded.remove(repository).unwrap_or_default())?;
            self.graph.documents().try_for_each(|document| client.push_manifest(document))?;
            candidates.add(repository, blobs.iter().map(|blob| blob.descriptor.digest));
            let (target, digest) = (repository.clone(), root.descriptor.digest);
            reports.push(PushReport { target, digest, blobs, tags: tags.clone() });
        }
        for Destination { repository, tags } in destinations {
            let client = RepositoryClient::new(self.registry, repository, &candidates, self.graph.blobs());
            tags.iter().try_for_each(|tag| client.push_tag(tag, root))?;
        }
        Ok(reports)
    }

    /// Pushes the layers, several in parallel, then the configs. Those that were uploaded in the
    /// background are checked again.
    fn push_blobs(
        &self,
        client: &RepositoryClient<'_>,
        repository: &Repository,
        uploaded: Uploaded,
    ) -> Result<Vec<BlobReport>, RegistryError> {
        let Uploaded { deliveries, progress } = uploaded;
        let total = total_size(self.graph.blobs());
        let task = match progress {
            Some(ProgressTask { task, total: announced }) => {
                task.extend(total.saturating_sub(announced));
                task
            }
            None => self.progress.task(Stage::Push, repository.to_string(), Some(total), Unit::Bytes),
        };
        let meter = task.meter();
        let push = |blob: &Descriptor| -> Result<BlobReport, RegistryError> {
            let now = client.push_blob(blob, &|| self.blobs.blob(blob), &meter)?;
            let delivery = combined_delivery(now, deliveries.get(&blob.digest), blob.size, &meter);
            Ok(BlobReport { descriptor: blob.clone(), delivery })
        };
        let mut reports = Vec::new();
        for blobs in [&self.graph.layers, &self.graph.configs] {
            reports.extend(parallel::map(blobs.iter().collect(), MAX_PARALLEL_UPLOADS, push)?);
        }
        task.finish(summary(&reports));
        Ok(reports)
    }
}

/// How a blob was delivered, from its delivery `now` and the one in the background, if any. The meter
/// has counted the bytes that were sent each time, and all bytes of a background upload.
fn combined_delivery(now: Delivery, background: Option<&Delivery>, size: u64, meter: &Meter) -> Delivery {
    match (now, background) {
        (Delivery::Skipped, Some(background)) => background.clone(),
        (now, Some(_)) => {
            // The registry had lost the blob, and it was delivered again.
            meter.extend(size);
            if now != Delivery::Sent {
                meter.advance(size);
            }
            now
        }
        (Delivery::Sent, None) => Delivery::Sent,
        (now, None) => {
            meter.advance(size);
            now
        }
    }
}
