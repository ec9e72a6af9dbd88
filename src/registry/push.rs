//! Writing: an image, or an index with all of its images, to one or many names.
//!
//! The order makes a push all or nothing. Into each repository go the blobs, then the manifests
//! by their digests, each after all that it names, and each is asked for again. When every
//! repository of a registry has the root, and not before, the tags there move.

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

use super::Registry;
use super::error::RegistryError;
use super::mount_candidates::MountCandidates;
use super::push_report::{BlobReport, Delivery, PushReport, summary};
use super::reference::{Reference, Repository};
use super::repository_client::{Destination, RepositoryClient};
use super::upload_queue::{ProgressTask, ReadyBlob, UploadQueue, Uploaded};
use carafe_builder::parallel;

/// So many blobs are on their way to one repository at the same time.
pub const MAX_PARALLEL_UPLOADS: usize = 4;
/// So many registries are pushed to at the same time.
const MAX_PARALLEL_REGISTRIES: usize = 4;

impl Registry {
    /// Pushes one image; see [`Self::push_graph`].
    pub fn push(
        &self,
        image: &ResolvedImage,
        blobs: &dyn ImageSource,
        targets: &[Reference],
        known: &MountCandidates,
        progress: &Progress,
    ) -> Result<Vec<PushReport>, RegistryError> {
        self.push_graph(&Graph::of(image), blobs, targets, known, progress)
    }

    /// Pushes all of `graph` (an image, an index over several, an artifact) to all `targets`; see
    /// [`PendingPush::finish`].
    pub fn push_graph(
        &self,
        graph: &Graph,
        blobs: &dyn ImageSource,
        targets: &[Reference],
        known: &MountCandidates,
        progress: &Progress,
    ) -> Result<Vec<PushReport>, RegistryError> {
        self.start_push(targets, progress)?.finish(graph, blobs, known)
    }

    /// Begins a push to all `targets` before it is known what they will name. Asks nothing yet.
    pub fn start_push(
        &self,
        targets: &[Reference],
        progress: &Progress,
    ) -> Result<PendingPush, RegistryError> {
        let locate = |target: &Reference| Ok(target.at(self.shared.mirrors.locate(target.repository())?));
        let targets = targets.iter().map(locate).collect::<Result<Vec<_>, RegistryError>>()?;
        let mut registries: Vec<Vec<Destination>> = Vec::new();
        for one in Destination::group(&targets) {
            let same =
                |others: &&mut Vec<Destination>| others[0].repository.registry() == one.repository.registry();
            match registries.iter_mut().find(same) {
                Some(others) => others.push(one),
                None => registries.push(vec![one]),
            }
        }
        let ahead = registries.into_iter().map(|destinations| UploadQueue::new(self, destinations, progress));
        Ok(PendingPush {
            registry: self.clone(),
            ahead: ahead.collect(),
            targets,
            progress: progress.clone(),
        })
    }
}

/// A push whose image may still be in the making. Its blobs can go ahead, so that little is left to
/// send when the image is there. Dropped before it is finished, it begins nothing further, and
/// leaves blobs behind that no name points at.
pub struct PendingPush {
    registry: Registry,
    targets: Vec<Reference>,
    ahead: Vec<UploadQueue>,
    progress: Progress,
}

impl PendingPush {
    /// Whether the registries can be reached, and may be written to; leaves nothing there. Fails if
    /// none of them can: that should be heard before an image is made for hours. Where only some
    /// cannot, that is a warning, and [`Self::finish`] tries them again. One that is busy now may
    /// not be later.
    pub fn check(&self) -> Result<(), RegistryError> {
        let known = MountCandidates::default();
        let check = |ahead: &UploadQueue| {
            let mut couriers = ahead
                .destinations
                .iter()
                .map(|one| RepositoryClient::new(&self.registry, &one.repository, &known, iter::empty()));
            Ok::<_, Infallible>(couriers.try_for_each(|courier| courier.check()).err())
        };
        let Ok(errors) = parallel::map(self.ahead.iter().collect(), MAX_PARALLEL_REGISTRIES, check);
        let can_some = errors.iter().any(Option::is_none);
        let mut failed: Vec<_> =
            self.ahead.iter().zip(errors).filter_map(|(ahead, error)| Some((ahead, error?))).collect();
        let last = if can_some { None } else { failed.pop() };
        failed.iter().for_each(|(ahead, error)| ahead.give_up(error));
        last.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Sends a blob of the image to come, in the background, and returns at once. `open` opens its
    /// bytes, if they have to be sent.
    ///
    /// Nothing depends on it: what fails is a warning, after which no further blob goes ahead to
    /// that registry, and what did not arrive is sent by [`Self::finish`].
    pub fn send(
        &self,
        descriptor: &Descriptor,
        known: &MountCandidates,
        open: impl Fn() -> Result<Box<dyn Read + Send>, SourceError> + Send + Sync + 'static,
    ) {
        let known = known.everywhere(&self.registry.shared.mirrors);
        let blob = ReadyBlob { descriptor: descriptor.clone(), open: Arc::new(open), known };
        self.ahead.iter().for_each(|ahead| ahead.send(blob.clone()));
    }

    /// Pushes all of `graph`, its blobs read from `blobs` where they have to be sent; one report for
    /// each repository, in the order in which they were named. Several names in one repository get
    /// their blobs once. What was sent ahead is asked for again, and reported as it was brought.
    ///
    /// Registries are pushed to at the same time. In each, no tag moves unless all of its
    /// repositories have all of the graph; one that fails does not hold the others up
    /// ([`RegistryError::PartialPush`]). A failure leaves blobs behind that no name points at; the next
    /// push of the same skips them. Fails before a manifest is sent if a target names another digest
    /// than the root's.
    pub fn finish(
        self,
        graph: &Graph,
        blobs: &dyn ImageSource,
        known: &MountCandidates,
    ) -> Result<Vec<PushReport>, RegistryError> {
        let Self { registry, targets, ahead, progress } = self;
        check_digests(graph.root.descriptor.digest, &targets)?;
        let known = &known.everywhere(&registry.shared.mirrors);
        let count = ahead.len();
        let push = |mut ahead: UploadQueue| {
            let arrived = ahead.join();
            let pushing = Pushing { registry: &registry, graph, blobs, progress: &progress };
            Ok::<_, Infallible>(pushing.to_one(&ahead.destinations, known, arrived))
        };
        let Ok(results) = parallel::map(ahead, MAX_PARALLEL_REGISTRIES, push);
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(reports) => done.extend(reports),
                Err(error) => failed.push(error),
            }
        }
        match failed.pop() {
            None => {
                let place =
                    |report: &PushReport| targets.iter().position(|one| *one.repository() == report.target);
                done.sort_by_key(place);
                Ok(done)
            }
            Some(only) if count == 1 => Err(only),
            Some(last) => {
                failed.push(last);
                Err(RegistryError::PartialPush { done, failed, registries: count })
            }
        }
    }
}

/// A target may name the digest that it wants.
fn check_digests(digest: Digest, targets: &[Reference]) -> Result<(), RegistryError> {
    for target in targets {
        if let Some(wanted) = target.digest().filter(|wanted| *wanted != digest) {
            let action = format!("push the image as {target}");
            return Err(RegistryError::DigestMismatch { action, wanted, got: digest });
        }
    }
    Ok(())
}

/// A graph on its way.
struct Pushing<'a> {
    registry: &'a Registry,
    graph: &'a Graph,
    blobs: &'a dyn ImageSource,
    progress: &'a Progress,
}

impl Pushing<'_> {
    /// To all repositories of one registry, or to none.
    fn to_one(
        &self,
        destinations: &[Destination],
        known: &MountCandidates,
        mut arrived: BTreeMap<Repository, Uploaded>,
    ) -> Result<Vec<PushReport>, RegistryError> {
        let (mut known, mut reports) = (known.clone(), Vec::new());
        let root = &self.graph.root;
        for Destination { repository, tags } in destinations {
            let courier = RepositoryClient::new(self.registry, repository, &known, self.graph.blobs());
            let ahead = arrived.remove(repository).unwrap_or_default();
            let delivered = self.bring(&courier, repository, ahead)?;
            self.graph.documents().try_for_each(|document| courier.document(document))?;
            known.add(repository, delivered.iter().map(|blob| blob.descriptor.digest));
            let (target, digest) = (repository.clone(), root.descriptor.digest);
            reports.push(PushReport { target, digest, blobs: delivered, tags: tags.clone() });
        }
        for Destination { repository, tags } in destinations {
            let courier = RepositoryClient::new(self.registry, repository, &known, self.graph.blobs());
            tags.iter().try_for_each(|tag| courier.tag(tag, root))?;
        }
        Ok(reports)
    }

    /// The layers, several at once, then the configs. Those that went `ahead` are asked for again.
    fn bring(
        &self,
        courier: &RepositoryClient<'_>,
        repository: &Repository,
        ahead: Uploaded,
    ) -> Result<Vec<BlobReport>, RegistryError> {
        let Uploaded { deliveries, told } = ahead;
        let total = total_size(self.graph.blobs());
        let task = match told {
            Some(ProgressTask { task, total: known }) => {
                task.extend(total.saturating_sub(known));
                task
            }
            None => self.progress.task(Stage::Push, repository.to_string(), Some(total), Unit::Bytes),
        };
        let meter = task.meter();
        let mut reports = Vec::new();
        for blobs in [&self.graph.layers, &self.graph.configs] {
            reports.extend(parallel::map(
                blobs.iter().collect(),
                MAX_PARALLEL_UPLOADS,
                |blob: &Descriptor| {
                    let now = courier.blob(blob, &|| self.blobs.blob(blob), &meter)?;
                    let delivery = as_brought(now, deliveries.get(&blob.digest), blob.size, &meter);
                    Ok(BlobReport { descriptor: blob.clone(), delivery })
                },
            )?);
        }
        task.finish(summary(&reports));
        Ok(reports)
    }
}

/// How a blob got there, of which it is known how it was brought `now`, and `ahead`. The meter has
/// heard of what was sent each time, and of all that arrived ahead.
fn as_brought(now: Delivery, ahead: Option<&Delivery>, size: u64, meter: &Meter) -> Delivery {
    match (now, ahead) {
        (Delivery::Skipped, Some(ahead)) => ahead.clone(),
        (now, Some(_)) => {
            // It was gone, and came once more.
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
