//! Writing: an image, or an index with all of its images, to one or many names.
//!
//! The order makes a push all or nothing. Into each repository go the blobs, then the manifests
//! by their digests, each after all that it names, and each is asked for again. When every
//! repository of a registry has the root, and not before, the tags there move.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use carafe_builder::progress::{Progress, Stage, Task, Unit};
use carafe_layers::digest::Digest;
use carafe_layers::graph::{Document, Graph};
use carafe_layers::oci::{Descriptor, total_size};
use carafe_layers::referrers::Referrer;
use carafe_layers::source::{ImageSource, ResolvedImage};

use super::Registry;
use super::failure::{Access, Attempt, RegistryError, Rule};
use super::places::Places;
use super::reference::{Reference, Repository};
use super::report::{BlobReport, Delivery, PushReport};
use super::shared::Shared;
use super::upload::{Journal, Upload};
use crate::parallel;

/// So many blobs are on their way to one repository at the same time.
pub const UPLOADS_AT_ONCE: usize = 4;
/// So many registries are pushed to at the same time.
const REGISTRIES_AT_ONCE: usize = 4;

/// Where blobs are known to be: a base's layers in the base's repository. A registry takes them
/// from there instead of being sent them again.
#[derive(Clone, Debug, Default)]
pub struct KnownBlobs(BTreeMap<Digest, BTreeSet<Repository>>);

impl KnownBlobs {
    /// Notes that `repository` has these blobs. If that is wrong, they are sent.
    pub fn add(&mut self, repository: &Repository, digests: impl IntoIterator<Item = Digest>) {
        for digest in digests {
            self.0.entry(digest).or_default().insert(repository.clone());
        }
    }

    /// In the mirrors of those repositories too.
    fn everywhere(&self, places: &Places) -> Self {
        let copies = |all: &BTreeSet<Repository>| all.iter().flat_map(|one| places.copies(one)).collect();
        Self(self.0.iter().map(|(digest, all)| (*digest, copies(all))).collect())
    }

    /// Other repositories of `target`'s registry that have `digest`.
    fn near(&self, target: &Repository, digest: Digest) -> Vec<Repository> {
        let known = self.0.get(&digest).into_iter().flatten();
        known.filter(|other| other.registry() == target.registry() && *other != target).cloned().collect()
    }
}

impl Registry {
    /// Pushes one image; see [`Self::push_graph`].
    pub fn push(
        &self,
        image: &ResolvedImage,
        blobs: &dyn ImageSource,
        targets: &[Reference],
        known: &KnownBlobs,
        progress: &Progress,
    ) -> Result<Vec<PushReport>, RegistryError> {
        self.push_graph(&Graph::of(image), blobs, targets, known, progress)
    }

    /// Pushes all of `graph` (an image, an index over several, an artifact), its blobs read from
    /// `blobs` where they have to be sent, to all `targets`; one report for each repository, in
    /// the order in which they were named. Several names in one repository get their blobs once.
    ///
    /// Registries are pushed to at the same time. In each, no tag moves unless all of its
    /// repositories have all of the graph; one that fails does not hold the others up
    /// ([`RegistryError::Partly`]). A failure leaves blobs behind that no name points at; the next
    /// push of the same skips them. Fails before anything is sent if a target names another digest
    /// than the root's.
    pub fn push_graph(
        &self,
        graph: &Graph,
        blobs: &dyn ImageSource,
        targets: &[Reference],
        known: &KnownBlobs,
        progress: &Progress,
    ) -> Result<Vec<PushReport>, RegistryError> {
        let locate = |target: &Reference| Ok(target.at(self.shared.places.locate(target.repository())?));
        let targets = &targets.iter().map(locate).collect::<Result<Vec<_>, RegistryError>>()?;
        let known = &known.everywhere(&self.shared.places);
        let destinations = group(graph.root.descriptor.digest, targets)?;
        let mut registries: Vec<Vec<&Destination>> = Vec::new();
        for one in &destinations {
            let same = |others: &&mut Vec<&Destination>| others[0].0.registry() == one.0.registry();
            match registries.iter_mut().find(same) {
                Some(others) => others.push(one),
                None => registries.push(vec![one]),
            }
        }
        let count = registries.len();
        let push = |registry: Vec<&Destination>| {
            Ok::<_, Infallible>(self.push_to_one(graph, blobs, &registry, known, progress))
        };
        let Ok(results) = parallel::map(registries, REGISTRIES_AT_ONCE, push);
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(reports) => done.extend(reports),
                Err(error) => failed.push(error),
            }
        }
        match failed.pop() {
            None => {
                let place = |report: &PushReport| destinations.iter().position(|one| one.0 == report.target);
                done.sort_by_key(place);
                Ok(done)
            }
            Some(only) if count == 1 => Err(only),
            Some(last) => {
                failed.push(last);
                Err(RegistryError::Partly { done, failed, registries: count })
            }
        }
    }

    /// The same to repositories of one registry: all or nothing.
    fn push_to_one(
        &self,
        graph: &Graph,
        blobs: &dyn ImageSource,
        destinations: &[&Destination],
        known: &KnownBlobs,
        progress: &Progress,
    ) -> Result<Vec<PushReport>, RegistryError> {
        let (mut known, mut reports) = (known.clone(), Vec::new());
        for (repository, tags) in destinations {
            let push = Push::new(self, graph, repository, &known);
            let delivered = push.blobs(blobs, &known, progress)?;
            graph.documents().try_for_each(|document| push.document(document))?;
            known.add(repository, delivered.iter().map(|blob| blob.descriptor.digest));
            let (target, digest) = (repository.clone(), graph.root.descriptor.digest);
            reports.push(PushReport { target, digest, blobs: delivered, tags: tags.clone() });
        }
        for (repository, tags) in destinations {
            let push = Push::new(self, graph, repository, &known);
            tags.iter().try_for_each(|tag| push.tag(tag))?;
        }
        Ok(reports)
    }
}

/// A repository and the tags in it.
type Destination = (Repository, Vec<String>);

/// What became of all blobs, in a few words.
fn summary(reports: &[BlobReport]) -> String {
    let count = |is: fn(&Delivery) -> bool| reports.iter().filter(|blob| is(&blob.delivery)).count();
    let counts = [
        (count(|delivery| *delivery == Delivery::Sent), "sent"),
        (count(|delivery| matches!(delivery, Delivery::Mounted { .. })), "mounted"),
        (count(|delivery| *delivery == Delivery::Skipped), "skipped"),
    ];
    let words: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    words.join(", ")
}

/// The repositories in the order in which they were named, and the tags in each.
fn group(digest: Digest, targets: &[Reference]) -> Result<Vec<Destination>, RegistryError> {
    let mut groups: Vec<Destination> = Vec::new();
    for target in targets {
        if let Some(wanted) = target.digest().filter(|wanted| *wanted != digest) {
            let action = format!("push the image as {target}");
            return Err(RegistryError::DigestMismatch { action, wanted, got: digest });
        }
        let position = groups.iter().position(|(repository, _)| repository == target.repository());
        let index = position.unwrap_or_else(|| {
            groups.push((target.repository().clone(), Vec::new()));
            groups.len() - 1
        });
        let tags = &mut groups[index].1;
        if let Some(tag) = target.tag().filter(|tag| !tags.iter().any(|known| known == tag)) {
            tags.push(tag.to_owned());
        }
    }
    Ok(groups)
}

/// A graph on its way to one repository.
struct Push<'a> {
    shared: &'a Shared,
    journal: Option<&'a Journal>,
    graph: &'a Graph,
    repository: &'a Repository,
    access: Access,
}

impl<'a> Push<'a> {
    fn new(registry: &'a Registry, graph: &'a Graph, repository: &'a Repository, known: &KnownBlobs) -> Self {
        let near = graph.blobs().flat_map(|blob| known.near(repository, blob.digest));
        let access = Access::push(near.map(|other| other.name().to_owned()));
        let (shared, journal) = (&registry.shared, registry.journal.as_deref());
        Self { shared, journal, graph, repository, access }
    }

    /// The layers, several at once, then the configs.
    fn blobs(
        &self,
        source: &dyn ImageSource,
        known: &KnownBlobs,
        progress: &Progress,
    ) -> Result<Vec<BlobReport>, RegistryError> {
        let total = total_size(self.graph.blobs());
        let task = progress.task(Stage::Push, self.repository.to_string(), Some(total), Unit::Bytes);
        let mut reports = Vec::new();
        for blobs in [&self.graph.layers, &self.graph.configs] {
            reports.extend(parallel::map(blobs.iter().collect(), UPLOADS_AT_ONCE, |blob: &Descriptor| {
                self.blob(blob, source, known, &task)
            })?);
        }
        task.finish(summary(&reports));
        Ok(reports)
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
        source: &dyn ImageSource,
        known: &KnownBlobs,
        task: &Task,
    ) -> Result<BlobReport, RegistryError> {
        let near = known.near(self.repository, descriptor.digest);
        let upload = Upload {
            shared: self.shared,
            journal: self.journal,
            repository: self.repository,
            access: &self.access,
            descriptor,
            near: &near,
            open: &|| source.blob(descriptor),
            task,
        };
        let delivery = upload.deliver()?;
        if delivery != Delivery::Sent {
            task.advance(descriptor.size);
        }
        Ok(BlobReport { descriptor: descriptor.clone(), delivery })
    }

    /// A manifest by its digest, and the registry's word that it has it.
    fn document(&self, document: &Document) -> Result<(), RegistryError> {
        let wanted = document.descriptor.digest;
        let name = wanted.to_string();
        let action = format!("push the manifest {name} to {}", self.repository);
        let attempt = self.attempt(&action, document);
        let keeps_track = self.put(&attempt, &name, document)?;
        let found = match self.find(&attempt, &name) {
            // Harbor has it, and gives out no image that it has not scanned or takes for vulnerable.
            Err(RegistryError::Refused { status: 412, .. }) => return Ok(()),
            found => found?,
        };
        match found {
            Some(found) if found.digest == wanted => match Referrer::of(document) {
                Some(referrer) if !keeps_track => {
                    self.shared.list_referrer(self.repository, &self.access, referrer)
                }
                _ => Ok(()),
            },
            Some(found) => {
                Err(RegistryError::DigestMismatch { action: action.clone(), wanted, got: found.digest })
            }
            None => Err(attempt.protocol("it took the manifest and does not have it")),
        }
    }

    fn tag(&self, tag: &str) -> Result<(), RegistryError> {
        let root = &self.graph.root;
        let action = format!("move the tag `{tag}` of {} to {}", self.repository, root.descriptor.digest);
        let attempt = self.attempt(&action, root);
        match self.put(&attempt, tag, root) {
            // Pushed again: it need not move.
            Err(error @ RegistryError::Ruled { rule: Rule::ImmutableTag, .. }) => {
                let found = self.find(&attempt, tag).ok().flatten();
                let is_there = found.is_some_and(|found| found.digest == root.descriptor.digest);
                if is_there { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }

    fn attempt<'b>(&'b self, action: &'b str, document: &Document) -> Attempt<'b> {
        Attempt::new(action, self.repository, &self.access).sized(document.bytes.len() as u64)
    }

    fn find(&self, attempt: &Attempt<'_>, name: &str) -> Result<Option<Descriptor>, RegistryError> {
        let find = || self.shared.block_on(self.shared.client.find_manifest(attempt, name));
        self.shared.persist(attempt, find)
    }

    /// Whether the registry keeps track of the document's subject.
    fn put(&self, attempt: &Attempt<'_>, name: &str, document: &Document) -> Result<bool, RegistryError> {
        let (descriptor, bytes) = (&document.descriptor, &document.bytes);
        let put = || self.shared.block_on(self.shared.client.put_manifest(attempt, name, descriptor, bytes));
        self.shared.persist(attempt, put)
    }
}
