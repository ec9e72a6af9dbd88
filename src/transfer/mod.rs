//! Transfers of complete images to registries, layouts and archives, with unchanged digests. In this
//! order: `image` (one transfer to all its targets), `index` (several images under one index), `push`
//! (an image that was just built), `referrers` (the recording of an image), `report` (the result).

mod image;
pub mod index;
pub mod push;
pub mod referrers;
pub mod report;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use carafe_builder::progress::{Stage, Task, Unit};
use carafe_builder::sandbox::CancelToken;
use carafe_layers::archive::{ArchiveFile, DockerName};
use carafe_layers::graph::Graph;
use carafe_layers::image::BASE_NAME;
use carafe_layers::layout::{ImageSink, LayoutWriter};
use carafe_layers::oci::Document;
use carafe_layers::oci::REF_NAME;
use carafe_layers::oci::{Descriptor, Manifest, Platform, total_size};
use carafe_layers::source::{ImageSource, ResolvedImage, resolve};
use miette::miette;

use crate::context::Context;
use crate::images::{ArchiveKind, ImageName, base_layers};
use crate::registry::{MAX_PARALLEL_UPLOADS, MountCandidates, PendingPush, PushReport, Reference};
use carafe_builder::parallel;

/// How much of an image is taken along.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Of an index, only the image for this platform.
    pub platform: Option<Platform>,
    /// Also what refers to it: signatures, SBOMs, provenance.
    pub referrers: bool,
}

/// What is to be brought somewhere.
pub struct Transfer {
    /// Has the blobs.
    pub source: Arc<dyn ImageSource>,
    /// All of it.
    pub graph: Graph,
    /// Where its blobs are known to be.
    pub known: MountCandidates,
    /// Its names, where a destination wants one and says none.
    pub names: Vec<Reference>,
}

impl Transfer {
    /// The image of this name, verified as far as its documents go; blobs are verified on their
    /// way.
    pub fn open(name: &ImageName, selection: &Selection, context: &Context) -> miette::Result<Self> {
        let source = name.open(&context.registry, None)?;
        let mut parcel = match &selection.platform {
            Some(platform) => {
                let image = resolve(&*source, platform)?;
                if !image.platform().satisfies(platform) {
                    let (has, name) = (image.platform(), source.name());
                    return Err(miette!("failed to find {platform} in {name}: it is an image for {has}"));
                }
                Self::of_image(source, &image)
            }
            None => {
                Self { graph: Graph::read(&*source)?, source, known: Default::default(), names: Vec::new() }
            }
        };
        if selection.referrers {
            parcel.graph.add_referrers(&*parcel.source)?;
        }
        if let ImageName::Registry(reference) = name {
            let blobs = parcel.graph.blobs().map(|blob| blob.digest);
            parcel.known.add(reference.repository(), blobs);
            parcel.names.extend(reference.tag().map(|_| reference.clone()));
        }
        Ok(parcel)
    }

    /// One image that was read already. Its annotation names the base, whose repository blobs may
    /// be mounted from.
    pub fn of_image(source: Arc<dyn ImageSource>, image: &ResolvedImage) -> Self {
        let mut known = MountCandidates::default();
        let base = image.manifest.annotations.get(BASE_NAME).and_then(|name| name.parse().ok());
        if let Some(ImageName::Registry(base)) = base {
            known.add(base.repository(), base_layers(image));
        }
        Self { source, graph: Graph::of(image), known, names: Vec::new() }
    }

    /// Brings it to every target: first what is on this machine, then all registries at the same
    /// time. What the registries did is reported.
    pub fn deliver(&self, targets: &[ImageName], context: &Context) -> miette::Result<Vec<PushReport>> {
        self.write(targets, context)?;
        let references: Vec<Reference> = targets.iter().filter_map(ImageName::reference).cloned().collect();
        self.push(context.registry.start_push(&references, &context.progress)?)
    }

    /// Ends a push that was begun with it.
    pub fn push(&self, push: PendingPush) -> miette::Result<Vec<PushReport>> {
        Ok(push.finish(&self.graph, &*self.source, &self.known)?)
    }

    /// Brings it to the targets that are on this machine.
    pub fn write(&self, targets: &[ImageName], context: &Context) -> miette::Result<()> {
        for target in targets {
            match target {
                ImageName::Registry(_) => {}
                ImageName::Layout { path, reference } => {
                    self.write_layout(path, reference.as_deref(), context)?;
                }
                ImageName::Archive { kind: ArchiveKind::Oci, path, reference } => {
                    self.write_oci_archive(path, reference.as_deref(), context)?;
                }
                ImageName::Archive { kind: ArchiveKind::Docker, path, reference } => {
                    self.write_docker_archive(path, reference.as_deref(), context)?;
                }
            }
        }
        Ok(())
    }

    fn write_layout(&self, path: &Path, name: Option<&str>, context: &Context) -> miette::Result<()> {
        let layout = LayoutWriter::create(path)?;
        let lists = self.fill(&layout, MAX_PARALLEL_UPLOADS, format!("oci:{}", path.display()), context)?;
        for (tag, list) in &lists {
            layout.finish(&list.descriptor, &[tag])?;
        }
        layout.finish(&self.root(), name.as_slice())?;
        Ok(())
    }

    fn write_oci_archive(&self, path: &Path, name: Option<&str>, context: &Context) -> miette::Result<()> {
        let lists = self.graph.referrer_lists();
        let mut entries = vec![named(self.root(), name)];
        entries.extend(lists.iter().map(|(tag, list)| named(list.descriptor.clone(), Some(tag))));
        let archive = ArchiveFile::oci(path, entries)?;
        self.fill(&archive, 1, format!("oci-archive:{}", path.display()), context)?;
        Ok(archive.close()?)
    }

    fn write_docker_archive(&self, path: &Path, name: Option<&str>, context: &Context) -> miette::Result<()> {
        if !self.graph.referrers.is_empty() {
            return Err(miette!(
                help = "leave out --referrers, or copy to `oci-archive:`",
                "a docker archive has no room for what refers to an image"
            ));
        }
        let manifest: Manifest = serde_json::from_slice(&self.graph.root.bytes).map_err(|error| {
            miette!(
                help = "pick one with --platform, or copy to `oci-archive:`",
                "a docker archive holds one image, and {} is none: {error}",
                self.graph.root.descriptor.digest
            )
        })?;
        let names = match name {
            Some(name) => vec![docker_name(&name.parse()?)],
            None => self.names.iter().map(docker_name).collect(),
        };
        let archive = ArchiveFile::docker(path, &self.root(), &manifest, &names)?;
        self.fill(&archive, 1, format!("docker-archive:{}", path.display()), context)?;
        Ok(archive.close()?)
    }

    /// The root as a new index names it.
    fn root(&self) -> Descriptor {
        let Descriptor { media_type, digest, size, .. } = &self.graph.root.descriptor;
        Descriptor::new(media_type, *digest, *size)
    }

    /// Puts all blobs and documents into `sink`, so many blobs at once, and the lists of
    /// referrers, which are given back with their names.
    fn fill(
        &self,
        sink: &dyn ImageSink,
        at_once: usize,
        name: String,
        context: &Context,
    ) -> miette::Result<Vec<(String, Document)>> {
        let blobs: Vec<&Descriptor> = self.graph.blobs().collect();
        let total = total_size(self.graph.blobs());
        let task = context.progress.task(Stage::Push, name, Some(total), Unit::Bytes);
        let written = parallel::map(blobs, at_once, |blob| self.put(sink, blob, &task, &context.cancel))?;
        let lists = self.graph.referrer_lists();
        let origin = self.source.name();
        for document in self.graph.documents().chain(lists.iter().map(|(_, list)| list)) {
            sink.put(&document.descriptor, &mut document.bytes.as_slice(), Path::new(&origin))?;
        }
        let count = written.iter().filter(|is_new| **is_new).count();
        task.finish(match written.len() - count {
            0 => format!("{count} blobs"),
            there => format!("{count} blobs, {there} were there"),
        });
        Ok(lists)
    }

    /// False if the blob was there.
    fn put(
        &self,
        sink: &dyn ImageSink,
        blob: &Descriptor,
        task: &Task,
        cancel: &CancelToken,
    ) -> miette::Result<bool> {
        if sink.contains(blob) {
            task.advance(blob.size);
            return Ok(false);
        }
        let mut stream = Watched { stream: self.source.blob(blob)?, task, cancel };
        sink.put(blob, &mut stream, Path::new(&self.source.name()))?;
        Ok(true)
    }
}

/// Tells a task what is read, and ends when the user wants that, so that what is unfinished is
/// cleaned up.
struct Watched<'a> {
    stream: Box<dyn Read + Send>,
    task: &'a Task,
    cancel: &'a CancelToken,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("it was stopped"));
        }
        let read = self.stream.read(buffer)?;
        self.task.advance(read as u64);
        Ok(read)
    }
}

fn named(mut entry: Descriptor, name: Option<&str>) -> Descriptor {
    entry.annotations.extend(name.map(|name| (REF_NAME.to_owned(), name.to_owned())));
    entry
}

/// As Docker shows it, what it fills in by itself is left out.
fn docker_name(reference: &Reference) -> DockerName {
    let tag = reference.tag().unwrap_or("latest").to_owned();
    let full = format!("{}:{tag}", reference.repository());
    let familiar = full.strip_prefix("docker.io/").unwrap_or(&full);
    let familiar = familiar.strip_prefix("library/").unwrap_or(familiar).to_owned();
    DockerName { full, familiar, tag }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_shows_short_names() {
        for (text, familiar, full) in [
            ("erp:15", "erp:15", "docker.io/library/erp:15"),
            ("frappe/erp", "frappe/erp:latest", "docker.io/frappe/erp:latest"),
            ("localhost:5000/library/erp:1", "localhost:5000/library/erp:1", "localhost:5000/library/erp:1"),
        ] {
            let name = docker_name(&text.parse().unwrap());
            assert_eq!((name.familiar.as_str(), name.full.as_str()), (familiar, full));
        }
    }
}
