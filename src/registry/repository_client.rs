//! Pushes to one repository: a blob, a manifest, a tag.

use std::collections::BTreeSet;

use carafe_builder::progress::Meter;
use carafe_layers::oci::Descriptor;
use carafe_layers::oci::Document;
use carafe_layers::referrers::Referrer;

use super::client::Registry;
use super::error::{Access, Policy, RegistryError, RequestContext};
use super::manifest::{self, Subject};
use super::mount_candidates::MountCandidates;
use super::reference::{Reference, Repository};
use super::referrers;
use super::report::Delivery;
use super::upload::{OpenBlob, Session, Upload};

/// A repository, and the tags that are to be moved in it.
pub(crate) struct Destination {
    pub(crate) repository: Repository,
    pub(crate) tags: Vec<String>,
}

impl Destination {
    /// The repositories of `targets` in their order, each with all of its tags.
    pub(crate) fn group(targets: &[Reference]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for target in targets {
            let position = groups.iter().position(|one| one.repository == *target.repository());
            let index = position.unwrap_or_else(|| {
                groups.push(Self { repository: target.repository().clone(), tags: Vec::new() });
                groups.len() - 1
            });
            let tags = &mut groups[index].tags;
            if let Some(tag) = target.tag().filter(|tag| !tags.iter().any(|other| other == tag)) {
                tags.push(tag.to_owned());
            }
        }
        groups
    }
}

/// Pushes to one repository.
pub(crate) struct RepositoryClient<'a> {
    registry: &'a Registry,
    repository: &'a Repository,
    mount_candidates: &'a MountCandidates,
    access: Access,
}

impl<'a> RepositoryClient<'a> {
    /// With the permission to mount `blobs` from the mount candidates.
    pub(crate) fn new<'b>(
        registry: &'a Registry,
        repository: &'a Repository,
        mount_candidates: &'a MountCandidates,
        blobs: impl Iterator<Item = &'b Descriptor>,
    ) -> Self {
        let sources: BTreeSet<_> =
            blobs.flat_map(|blob| mount_candidates.for_target(repository, blob.digest)).collect();
        let access = Access::push(sources.into_iter().map(|other| other.name().to_owned()));
        Self { registry, repository, mount_candidates, access }
    }

    /// Checks the permission to push, by opening and canceling an upload. A registry that does not
    /// support canceling drops the upload later. One that is busy now is not waited for: it may be
    /// available when the image is complete.
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        let executor = &self.registry.executor;
        let action = format!("push to {}", self.repository);
        let context = RequestContext::new(&action, self.repository, &self.access);
        let open = || match executor.block_on(Session::open(&executor.client, &context)) {
            Err(error) if error.is_temporary() && !matches!(error, RegistryError::Unreachable { .. }) => {
                Ok(None)
            }
            opened => opened.map(Some),
        };
        if let Some(session) = executor.with_retries(&context, open)? {
            let _ = executor.block_on(session.cancel(&executor.client, &context));
        }
        Ok(())
    }

    /// Pushes a blob with as few bytes as possible. The bytes that are sent are reported to `meter`,
    /// and taken back if the upload fails.
    pub(crate) fn push_blob(
        &self,
        descriptor: &Descriptor,
        open: &OpenBlob<'_>,
        meter: &Meter,
    ) -> Result<Delivery, RegistryError> {
        let upload = Upload {
            executor: &self.registry.executor,
            journal: self.registry.journal.as_deref(),
            repository: self.repository,
            access: &self.access,
            descriptor,
            mount_candidates: &self.mount_candidates.for_target(self.repository, descriptor.digest),
            open,
            meter,
        };
        upload.run()
    }

    /// Pushes a manifest under its digest, and verifies that the registry has stored it.
    pub(crate) fn push_manifest(&self, document: &Document) -> Result<(), RegistryError> {
        let expected = document.descriptor.digest;
        let name = expected.to_string();
        let action = format!("push the manifest {name} to {}", self.repository);
        let context = self.context(&action, document);
        let subject = self.put(&context, &name, document)?;
        let found = match self.find(&context, &name) {
            // Harbor has stored it, but does not serve images that are not scanned or are vulnerable.
            Err(RegistryError::Rejected { status: 412, .. }) => return Ok(()),
            found => found?,
        };
        match found {
            Some(found) if found.digest == expected => match Referrer::of(document) {
                Some(referrer) if subject == Subject::NotListed => {
                    referrers::add_to_tag(&self.registry.executor, self.repository, &self.access, referrer)
                }
                _ => Ok(()),
            },
            Some(found) => {
                Err(RegistryError::DigestMismatch { action: action.clone(), expected, got: found.digest })
            }
            None => Err(context.protocol("it accepted the manifest, but does not have it")),
        }
    }

    /// Points a tag at `root`, which the repository has already.
    pub(crate) fn push_tag(&self, tag: &str, root: &Document) -> Result<(), RegistryError> {
        let action = format!("move the tag `{tag}` of {} to {}", self.repository, root.descriptor.digest);
        let context = self.context(&action, root);
        match self.put(&context, tag, root) {
            // The same image was pushed before, and the tag need not move.
            Err(error @ RegistryError::PolicyViolation { policy: Policy::ImmutableTag, .. }) => {
                let found = self.find(&context, tag).ok().flatten();
                let is_same = found.is_some_and(|found| found.digest == root.descriptor.digest);
                if is_same { Ok(()) } else { Err(error) }
            }
            result => result.map(drop),
        }
    }

    fn context<'b>(&'b self, action: &'b str, document: &Document) -> RequestContext<'b> {
        let size = document.bytes.len() as u64;
        RequestContext::new(action, self.repository, &self.access).with_size(size)
    }

    fn find(&self, context: &RequestContext<'_>, name: &str) -> Result<Option<Descriptor>, RegistryError> {
        let executor = &self.registry.executor;
        let find = || executor.block_on(manifest::find(&executor.client, context, name));
        executor.with_retries(context, find)
    }

    fn put(
        &self,
        context: &RequestContext<'_>,
        name: &str,
        Document { descriptor, bytes }: &Document,
    ) -> Result<Subject, RegistryError> {
        let executor = &self.registry.executor;
        let put = || executor.block_on(manifest::put(&executor.client, context, name, descriptor, bytes));
        executor.with_retries(context, put)
    }
}
