//! From a draft to a folder or a tar, whole or as a delta.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use carafe_builder::progress::{Progress, Stage, Task, Unit};
use carafe_layers::archive::ArchiveWriter;
use carafe_layers::digest::Digest;
use carafe_layers::graph::{Document, Graph};
use carafe_layers::layout::LayoutWriter;
use carafe_layers::oci::Descriptor;
use carafe_layers::source::ImageSource;

use super::contents::DELTA_BASE;
use super::draft::Draft;
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

/// Writes the bundle into an OCI layout. What is in the folder already is not written again; it
/// becomes the one bundle that the folder's index names.
pub fn to_folder(
    draft: &Draft,
    folder: &Path,
    delta: Option<&Delta>,
    progress: &Progress,
) -> Result<Written, BundleError> {
    let layout = LayoutWriter::create(folder)?;
    let plan = Plan::new(draft, delta);
    let task = plan.task(folder, progress);
    for blob in &plan.blobs {
        if !layout.contains(blob) {
            layout.put_stream(blob, draft.blob(blob)?, Path::new(&draft.name()))?;
        }
        task.advance(blob.size);
    }
    for Document { descriptor, bytes } in draft.graph.documents() {
        layout.put_bytes(&descriptor.media_type, bytes)?;
    }
    layout.finish(&plan.root, &[])?;
    Ok(plan.done(task))
}

/// Writes the bundle as one tar file, which replaces what is there when it is whole. Equal bundles
/// give equal files.
pub fn to_tar(
    draft: &Draft,
    path: &Path,
    delta: Option<&Delta>,
    progress: &Progress,
) -> Result<Written, BundleError> {
    let shown = path.display().to_string();
    let failed = |verb| {
        let path = shown.clone();
        move |source| BundleError::Io { verb, path, source }
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(failed("create"))?;
    let plan = Plan::new(draft, delta);
    let task = plan.task(path, progress);
    let out = BufWriter::with_capacity(1 << 20, &mut file);
    let mut archive = ArchiveWriter::new(out, &plan.root).map_err(failed("write"))?;
    for Document { descriptor, bytes } in draft.graph.documents() {
        archive.put(descriptor, &bytes[..]).map_err(failed("write"))?;
    }
    for blob in &plan.blobs {
        archive.put(blob, draft.blob(blob)?).map_err(failed("write"))?;
        task.advance(blob.size);
    }
    archive.finish().and_then(|mut out| out.flush()).map_err(failed("write"))?;
    file.as_file().sync_all().map_err(failed("write"))?;
    file.persist(path).map_err(|error| failed("replace")(error.error))?;
    Ok(plan.done(task))
}

/// What is written where.
struct Plan<'a> {
    /// With a word about what was left out.
    root: Descriptor,
    blobs: Vec<&'a Descriptor>,
    left_out: usize,
}

impl<'a> Plan<'a> {
    fn new(draft: &'a Draft, delta: Option<&Delta>) -> Self {
        let mut root = draft.graph.root.descriptor.clone();
        let all: Vec<_> = draft.graph.blobs().collect();
        let Some(delta) = delta else { return Self { root, blobs: all, left_out: 0 } };
        let count = all.len();
        let stays =
            |blob: &&Descriptor| draft.is_essential(&blob.digest) || !delta.blobs.contains(&blob.digest);
        let blobs: Vec<_> = all.into_iter().filter(stays).collect();
        let left_out = count - blobs.len();
        if left_out > 0 {
            root.annotations.insert(DELTA_BASE.to_owned(), delta.base.to_string());
        }
        Self { root, blobs, left_out }
    }

    fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }

    fn task(&self, path: &Path, progress: &Progress) -> Task {
        progress.task(Stage::Pack, path.display().to_string(), Some(self.bytes()), Unit::Bytes)
    }

    fn done(&self, task: Task) -> Written {
        let written = Written {
            digest: self.root.digest,
            blobs: self.blobs.len(),
            bytes: self.bytes(),
            left_out: self.left_out,
        };
        task.finish(match written.left_out {
            0 => format!("{} blobs", written.blobs),
            left_out => format!("{} blobs, {left_out} left out", written.blobs),
        });
        written
    }
}
