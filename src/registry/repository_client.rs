//! One repository that is pushed to: blobs, manifests and tags, each by itself.

use std::collections::BTreeSet;

use carafe_builder::progress::Meter;
use carafe_layers::oci::Descriptor;
use carafe_layers::oci::Document;
use carafe_layers::referrers::Referrer;

use super::Registry;
use super::error::{Access, RegistryError, RequestContext, Rule};
use super::mount_candidates::MountCandidates;
use super::push_report::Delivery;
use super::reference::{Reference, Repository};
use super::upload::{OpenBlob, Upload};

/// A repository, and the tags that are to move in it.
pub(super) struct Destination {
    pub repository: Repository,
    pub tags: Vec<String>,
}

impl Destination {
    /// The repositories in the order in which they were named, each with all of its tags.
    pub fn group(targets: &[Reference]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for target in targets {
            let position = groups.iter().position(|one| one.repository == *target.repository());
            let index = position.unwrap_or_else(|| {
                groups.push(Self { repository: target.repository().clone(), tags: Vec::new() });
                groups.len() - 1
            });
            let tags = &mut groups[index].tags;
            if let Some(tag) = target.tag().filter(|tag| !tags.iter().any(|known| known == tag)) {
                tags.push(tag.to_owned());
            }
        }
        groups
    }
}

/// Brings things to one repository.
pub(super) struct RepositoryClient<'a> {
    registry: &'a Registry,
    repository: &'a Repository,
    known: &'a MountCandidates,
    access: Access,
}

impl<'a> RepositoryClient<'a> {
    /// With the right to mount `blobs` from wherever they are `known` to be.
    pub fn new<'b>(
        registry: &'a Registry,
        repository: &'a Repository,
        known: &'a MountCandidates,
        blobs: impl Iterator<Item = &'b Descriptor>,
    ) -> Self {
        let mount_candidates: BTreeSet<_> =
            blobs.flat_map(|blob| known.mount_candidates(repository, blob.digest)).collect();
        let access = Access::push(mount_candidates.into_iter().map(|other| other.name().to_owned()));
        Self { registry, repository, known, access }
    }

    /// Whether we may: an upload is opened, and cancelled. Registries that know no cancelling drop
    /// it by themselves. One that is busy now is not waited for: it says nothing about later.
    pub fn check(&self) -> Result<(), RegistryError> {
        let shared = &self.registry.shared;
        let action = format!("push to {}", self.repository);
        let attempt = RequestContext::new(&action, self.repository, &self.access);
        let open = || match shared.block_on(shared.client.open_upload(&attempt)) {
            Err(error) if error.is_passing() && !matches!(error, RegistryError::Unreachable { .. }) => {
                Ok(None)
            }
            opened => opened.map(Some),
        };
        if let Some(session) = shared.persist(&attempt, open)? {
            let _ = shared.block_on(shared.client.cancel_upload(&attempt, &session));
        }
        Ok(())
    }

    /// A blob, in the cheapest way. `meter` is told of the bytes that are sent, and takes them back
    /// where that fails.
    pub fn blob(
        &self,
        descriptor: &Descriptor,
        open: &OpenBlob<'_>,
        meter: &Meter,
    ) -> Result<Delivery, RegistryError> {
        let mount_candidates = self.known.mount_candidates(self.repository, descriptor.digest);
        let upload = Upload {
            shared: &self.registry.shared,
            journal: self.registry.journal.as_deref(),
            repository: self.repository,
            access: &self.access,
            descriptor,
            mount_candidates: &mount_candidates,
            open,
            meter,
        };
        upload.deliver()
    }

    /// A manifest by its digest, and the registry's word that it has it.
    pub fn document(&self, document: &Document) -> Result<(), RegistryError> {
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
                    self.registry.shared.list_referrer(self.repository, &self.access, referrer)
                }
                _ => Ok(()),
            },
            Some(found) => {
                Err(RegistryError::DigestMismatch { action: action.clone(), wanted, got: found.digest })
            }
            None => Err(attempt.protocol("it took the manifest and does not have it")),
        }
    }

    /// Points a tag at `root`, which is there.
    pub fn tag(&self, tag: &str, root: &Document) -> Result<(), RegistryError> {
        let action = format!("move the tag `{tag}` of {} to {}", self.repository, root.descriptor.digest);
        let attempt = self.attempt(&action, root);
        match self.put(&attempt, tag, root) {
            // Pushed again: it need not move.
            Err(error @ RegistryError::PolicyViolation { rule: Rule::ImmutableTag, .. }) => {
                let found = self.find(&attempt, tag).ok().flatten();
                let is_there = found.is_some_and(|found| found.digest == root.descriptor.digest);
                if is_there { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }

    fn attempt<'b>(&'b self, action: &'b str, document: &Document) -> RequestContext<'b> {
        RequestContext::new(action, self.repository, &self.access).sized(document.bytes.len() as u64)
    }

    fn find(&self, attempt: &RequestContext<'_>, name: &str) -> Result<Option<Descriptor>, RegistryError> {
        let shared = &self.registry.shared;
        let find = || shared.block_on(shared.client.find_manifest(attempt, name));
        shared.persist(attempt, find)
    }

    /// Whether the registry keeps track of the document's subject.
    fn put(
        &self,
        attempt: &RequestContext<'_>,
        name: &str,
        document: &Document,
    ) -> Result<bool, RegistryError> {
        let shared = &self.registry.shared;
        let (descriptor, bytes) = (&document.descriptor, &document.bytes);
        let put = || shared.block_on(shared.client.put_manifest(attempt, name, descriptor, bytes));
        shared.persist(attempt, put)
    }
}
