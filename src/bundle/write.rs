//! Writes a bundle to a directory or a tar file, complete or as a delta.

use std::collections::BTreeSet;
use std::path::Path;

use carafe_builder::progress::{Progress, Stage, Unit};
use carafe_layers::archive::ArchiveFile;
use carafe_layers::digest::Digest;
use carafe_layers::graph::Graph;
use carafe_layers::layout::{ImageSink, LayoutWriter};
use carafe_layers::oci::Document;
use carafe_layers::oci::{Descriptor, total_size};
use carafe_layers::source::ImageSource;

use super::builder::BundleBuilder;
use super::contents::DELTA_BASE;
use super::error::BundleError;

/// The blobs that a delta bundle omits, because its recipient has them from an earlier bundle.
pub struct Delta {
    base: Digest,
    blobs: BTreeSet<Digest>,
}

impl Delta {
    /// A delta against `base`; only the documents of `base` are read.
    pub fn against(base: &dyn ImageSource) -> Result<Self, BundleError> {
        let graph = Graph::read(base)?;
        let blobs = graph.blobs().map(|blob| blob.digest).collect();
        Ok(Self { base: graph.root.descriptor.digest, blobs })
    }
}

/// A summary of what was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The digest of the bundle; for a delta, that of the complete bundle.
    pub digest: Digest,
    /// The number of blobs written.
    pub blobs: usize,
    /// The total size of these blobs, in bytes.
    pub bytes: u64,
    /// The number of blobs that a delta omits.
    pub omitted: usize,
}

/// Writes the bundle into an OCI layout. Blobs that the directory already has are not written again.
/// The bundle becomes the only entry of the layout's index.
pub fn to_directory(
    builder: &BundleBuilder,
    directory: &Path,
    delta: Option<&Delta>,
    progress: &Progress,
) -> Result<Written, BundleError> {
    let layout = LayoutWriter::create(directory)?;
    let plan = Plan::new(builder, delta);
    let written = plan.fill(&layout, directory, progress)?;
    layout.finish(&plan.root, &[])?;
    Ok(written)
}

/// Writes the bundle as one tar file, which replaces an existing file only when it is complete. Equal
/// bundles give equal files.
pub fn to_tar(
    builder: &BundleBuilder,
    path: &Path,
    delta: Option<&Delta>,
    progress: &Progress,
) -> Result<Written, BundleError> {
    let plan = Plan::new(builder, delta);
    let archive = ArchiveFile::oci(path, vec![plan.root.clone()])?;
    let written = plan.fill(&archive, path, progress)?;
    archive.close()?;
    Ok(written)
}

/// What is written to one destination.
struct Plan<'a> {
    builder: &'a BundleBuilder,
    /// For a delta, annotated with the digest of its base.
    root: Descriptor,
    blobs: Vec<&'a Descriptor>,
    omitted: usize,
}

impl<'a> Plan<'a> {
    fn new(builder: &'a BundleBuilder, delta: Option<&Delta>) -> Self {
        let mut root = builder.graph().root.descriptor.clone();
        let all: Vec<_> = builder.graph().blobs().collect();
        let Some(delta) = delta else { return Self { builder, root, blobs: all, omitted: 0 } };
        let count = all.len();
        let stays =
            |blob: &&Descriptor| builder.is_essential(&blob.digest) || !delta.blobs.contains(&blob.digest);
        let blobs: Vec<_> = all.into_iter().filter(stays).collect();
        let omitted = count - blobs.len();
        if omitted > 0 {
            root.annotations.insert(DELTA_BASE.to_owned(), delta.base.to_string());
        }
        Self { builder, root, blobs, omitted }
    }

    /// Writes the documents, then the blobs.
    fn fill(&self, sink: &dyn ImageSink, path: &Path, progress: &Progress) -> Result<Written, BundleError> {
        let bytes = total_size(self.blobs.iter().copied());
        let task = progress.task(Stage::Pack, path.display().to_string(), Some(bytes), Unit::Bytes);
        let (name, omitted) = (self.builder.source().name(), self.omitted);
        for Document { descriptor, bytes } in self.builder.graph().documents() {
            sink.put(descriptor, &mut &bytes[..], Path::new(&name))?;
        }
        for blob in &self.blobs {
            if !sink.contains(blob) {
                sink.put(blob, &mut *self.builder.source().blob(blob)?, Path::new(&name))?;
            }
            task.advance(blob.size);
        }
        task.finish(match omitted {
            0 => format!("{} blobs", self.blobs.len()),
            omitted => format!("{} blobs, {omitted} omitted", self.blobs.len()),
        });
        Ok(Written { digest: self.root.digest, blobs: self.blobs.len(), bytes, omitted })
    }
}
