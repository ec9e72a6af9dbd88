//! Writing: an image to one or many names.
//!
//! The order makes a push all or nothing. Into each repository go the layers, then the config,
//! then the manifest by its digest, which is asked for again. When every repository has it, and
//! not before, the tags move.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use carafe_builder::progress::{Progress, Stage, Task, Unit};
use carafe_layers::digest::Digest;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::{ImageSource, ResolvedImage};

use super::auth::Access;
use super::error::RegistryError;
use super::failure::Attempt;
use super::parallel;
use super::reference::{Reference, Repository};
use super::upload::{Delivery, OpenBlob, Upload};
use super::{Registry, Shared};

/// So many blobs are on their way to one repository at the same time.
pub const UPLOADS_AT_ONCE: usize = 4;

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

    /// Other repositories of `target`'s registry that have `digest`.
    fn near(&self, target: &Repository, digest: Digest) -> Vec<Repository> {
        let known = self.0.get(&digest).into_iter().flatten();
        known.filter(|other| other.registry() == target.registry() && *other != target).cloned().collect()
    }
}

/// What became of one blob.
#[derive(Clone, Debug)]
pub struct BlobReport {
    /// The blob.
    pub descriptor: Descriptor,
    /// How it got there.
    pub delivery: Delivery,
}

/// What a push did in one repository.
#[derive(Clone, Debug)]
pub struct PushReport {
    /// Where.
    pub target: Repository,
    /// The manifest's digest: with `target` it names the image for ever.
    pub digest: Digest,
    /// The layers in the manifest's order, each blob once, then the config.
    pub blobs: Vec<BlobReport>,
    /// The tags that point at it now.
    pub tags: Vec<String>,
}

impl Registry {
    /// Pushes `image`, its layers read from `blobs` where they have to be sent, to all `targets`;
    /// one report for each repository, in the order in which they were named. Several names in
    /// one repository get their blobs once.
    ///
    /// No tag moves unless every repository has the whole image. A failure leaves blobs behind
    /// that no name points at; the next push of the same image skips them. Fails before anything
    /// is sent if a target names another digest than the image's.
    pub fn push(
        &self,
        image: &ResolvedImage,
        blobs: &dyn ImageSource,
        targets: &[Reference],
        known: &KnownBlobs,
        progress: &Progress,
    ) -> Result<Vec<PushReport>, RegistryError> {
        let mut known = known.clone();
        let mut reports = Vec::new();
        let destinations = group(image, targets)?;
        for (repository, tags) in &destinations {
            let push = Push::new(&self.shared, image, repository, &known);
            let delivered = push.blobs(blobs, &known, progress)?;
            push.manifest()?;
            known.add(repository, delivered.iter().map(|blob| blob.descriptor.digest));
            let (target, digest) = (repository.clone(), image.descriptor.digest);
            reports.push(PushReport { target, digest, blobs: delivered, tags: tags.clone() });
        }
        for (repository, tags) in &destinations {
            let push = Push::new(&self.shared, image, repository, &known);
            tags.iter().try_for_each(|tag| push.tag(tag))?;
        }
        Ok(reports)
    }
}

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
fn group(
    image: &ResolvedImage,
    targets: &[Reference],
) -> Result<Vec<(Repository, Vec<String>)>, RegistryError> {
    let mut groups: Vec<(Repository, Vec<String>)> = Vec::new();
    for target in targets {
        if let Some(wanted) = target.digest().filter(|digest| *digest != image.descriptor.digest) {
            let action = format!("push the image as {target}");
            return Err(RegistryError::DigestMismatch { action, wanted, got: image.descriptor.digest });
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

/// One image on its way to one repository.
struct Push<'a> {
    shared: &'a Shared,
    image: &'a ResolvedImage,
    repository: &'a Repository,
    access: Access,
}

impl<'a> Push<'a> {
    fn new(
        shared: &'a Shared,
        image: &'a ResolvedImage,
        repository: &'a Repository,
        known: &KnownBlobs,
    ) -> Self {
        let near = image.manifest.layers.iter().flat_map(|layer| known.near(repository, layer.digest));
        let access = Access::push(near.map(|other| other.name().to_owned()));
        Self { shared, image, repository, access }
    }

    /// The layers, several at once, then the config.
    fn blobs(
        &self,
        source: &dyn ImageSource,
        known: &KnownBlobs,
        progress: &Progress,
    ) -> Result<Vec<BlobReport>, RegistryError> {
        let mut seen = BTreeSet::new();
        let layers: Vec<&Descriptor> =
            self.image.manifest.layers.iter().filter(|layer| seen.insert(layer.digest)).collect();
        let config = &self.image.manifest.config;
        let total = layers.iter().map(|layer| layer.size).sum::<u64>() + config.size;
        let task = progress.task(Stage::Push, self.repository.to_string(), Some(total), Unit::Bytes);
        let mut reports = parallel::map(layers, UPLOADS_AT_ONCE, |layer: &Descriptor| {
            self.blob(layer, &|| source.blob(layer), known, &task)
        })?;
        let open: &OpenBlob<'_> = &|| Ok(Box::new(Cursor::new(self.image.config_bytes.clone())));
        reports.push(self.blob(config, open, known, &task)?);
        task.finish(summary(&reports));
        Ok(reports)
    }

    fn blob(
        &self,
        descriptor: &Descriptor,
        open: &OpenBlob<'_>,
        known: &KnownBlobs,
        task: &Task,
    ) -> Result<BlobReport, RegistryError> {
        let near = known.near(self.repository, descriptor.digest);
        let upload = Upload {
            shared: self.shared,
            repository: self.repository,
            access: &self.access,
            descriptor,
            near: &near,
            open,
            task,
        };
        let delivery = upload.deliver()?;
        if delivery != Delivery::Sent {
            task.advance(descriptor.size);
        }
        Ok(BlobReport { descriptor: descriptor.clone(), delivery })
    }

    /// The manifest by its digest, and the registry's word that it has it.
    fn manifest(&self) -> Result<(), RegistryError> {
        let digest = self.image.descriptor.digest.to_string();
        let action = format!("push the manifest {digest} to {}", self.repository);
        let attempt = self.put(&action, &digest)?;
        let find = || self.shared.block_on(self.shared.client.find_manifest(&attempt, &digest));
        match self.shared.persist(&attempt, find)? {
            Some(found) if found.digest == self.image.descriptor.digest => Ok(()),
            Some(found) => Err(RegistryError::DigestMismatch {
                action: action.clone(),
                wanted: self.image.descriptor.digest,
                got: found.digest,
            }),
            None => Err(attempt.protocol("it took the manifest and does not have it")),
        }
    }

    fn tag(&self, tag: &str) -> Result<(), RegistryError> {
        let action =
            format!("move the tag `{tag}` of {} to {}", self.repository, self.image.descriptor.digest);
        self.put(&action, tag).map(|_| ())
    }

    fn put<'b>(&'b self, action: &'b str, name: &str) -> Result<Attempt<'b>, RegistryError> {
        let (descriptor, bytes) = (&self.image.descriptor, &self.image.manifest_bytes);
        let attempt = Attempt::new(action, self.repository, &self.access).sized(bytes.len() as u64);
        let put = || self.shared.block_on(self.shared.client.put_manifest(&attempt, name, descriptor, bytes));
        self.shared.persist(&attempt, put)?;
        Ok(attempt)
    }
}
