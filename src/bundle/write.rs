//! From a draft to a directory or a tar, whole or as a delta.

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

/// What a bundle need not bring along, because whoever gets it has it from an earlier one.
pub struct Delta {
    base: Digest,
    blobs: BTreeSet<Digest>,
}

impl Delta {
    /// Against this bundle: only its documents are read.
    pub fn against(base: &dyn ImageSource) -> Result<Self, BundleError> {
        let graph = Graph::read(base)?;
        let blobs = graph.blobs().map(|blob| blob.digest).collect();
        Ok(Self { base: graph.root.descriptor.digest, blobs })
    }
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// The bundle's digest: a delta has that of the whole.
    pub digest: Digest,
    /// Blobs in it.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that a delta left out.
    pub left_out: usize,
}

/// Writes the bundle into an OCI layout. What is in the directory already is not written again; it
/// becomes the one bundle that the directory's index names.
pub fn to_directory(
    draft: &BundleBuilder,
    directory: &Path,
    delta: Option<&Delta>,
    progress: &Progress,
) -> Result<Written, BundleError> {
    let layout = LayoutWriter::create(directory)?;
    let plan = Plan::new(draft, delta);
    let written = plan.fill(&layout, directory, progress)?;
    layout.finish(&plan.root, &[])?;
    Ok(written)
}

/// Writes the bundle as one tar file, which replaces what is there when it is whole. Equal bundles
/// give equal files.
pub fn to_tar(
    draft: &BundleBuilder,
    path: &Path,
    delta: Option<&Delta>,
    progress: &Progress,
) -> Result<Written, BundleError> {
    let plan = Plan::new(draft, delta);
    let archive = ArchiveFile::oci(path, vec![plan.root.clone()])?;
    let written = plan.fill(&archive, path, progress)?;
    archive.close()?;
    Ok(written)
}

/// What is written where.
struct Plan<'a> {
    draft: &'a BundleBuilder,
    /// With a word about what was left out.
    root: Descriptor,
    blobs: Vec<&'a Descriptor>,
    left_out: usize,
}

impl<'a> Plan<'a> {
    fn new(draft: &'a BundleBuilder, delta: Option<&Delta>) -> Self {
        let mut root = draft.graph().root.descriptor.clone();
        let all: Vec<_> = draft.graph().blobs().collect();
        let Some(delta) = delta else { return Self { draft, root, blobs: all, left_out: 0 } };
        let count = all.len();
        let stays =
            |blob: &&Descriptor| draft.is_essential(&blob.digest) || !delta.blobs.contains(&blob.digest);
        let blobs: Vec<_> = all.into_iter().filter(stays).collect();
        let left_out = count - blobs.len();
        if left_out > 0 {
            root.annotations.insert(DELTA_BASE.to_owned(), delta.base.to_string());
        }
        Self { draft, root, blobs, left_out }
    }

    /// The documents, then the blobs.
    fn fill(&self, sink: &dyn ImageSink, path: &Path, progress: &Progress) -> Result<Written, BundleError> {
        let bytes = total_size(self.blobs.iter().copied());
        let task = progress.task(Stage::Pack, path.display().to_string(), Some(bytes), Unit::Bytes);
        let (name, left_out) = (self.draft.source().name(), self.left_out);
        for Document { descriptor, bytes } in self.draft.graph().documents() {
            sink.put(descriptor, &mut &bytes[..], Path::new(&name))?;
        }
        for blob in &self.blobs {
            if !sink.contains(blob) {
                sink.put(blob, &mut *self.draft.source().blob(blob)?, Path::new(&name))?;
            }
            task.advance(blob.size);
        }
        task.finish(match left_out {
            0 => format!("{} blobs", self.blobs.len()),
            left_out => format!("{} blobs, {left_out} left out", self.blobs.len()),
        });
        Ok(Written { digest: self.root.digest, blobs: self.blobs.len(), bytes, left_out })
    }
}
