//! The pipeline: `Spec → Lock → Sources → BuiltTree → Layers → Image → Pushed`.
//!
//! 1. [`stages::lock`]: names become commits and digests ([`Lock`]), or the lock file is read.
//! 2. [`stages::fetch`]: the pinned commits, the build root and the base image ([`Sources`]).
//! 3. [`stages::bench`]: bench builds in a sandbox; what it left is settled ([`BuiltTree`]).
//! 4. [`stages::pack`]: the tree becomes layers ([`PackedLayer`]) in an OCI layout.
//! 5. [`stages::assemble`]: the base and the layers become one image ([`Built`]).
//! 6. [`stages::push`]: blobs, then the manifest, then the tags ([`PushReport`]).
//!
//! Each arrow is one function from one value to the next, so that the types keep the order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use carafe_builder::cache::{Cache, Scratch};
use carafe_builder::git::Store;
use carafe_builder::lock::{Lock, PinnedApp};
use carafe_builder::progress::Progress;
use carafe_builder::runtime::BuiltTree;
use carafe_builder::sandbox::{CancelToken, Isolation};
use carafe_builder::spec::Spec;
use carafe_layers::image::Image;
use carafe_layers::oci::Platform;
use carafe_layers::pack::PackedLayer;
use carafe_layers::source::{ImageSource, ResolvedImage};

use crate::registry::{PushReport, Reference, Registry};
use crate::stages;

/// What every stage may use.
pub struct Context {
    /// The store of this user.
    pub cache: Cache,
    /// The commits in it.
    pub commits: Store,
    /// The way to registries.
    pub registry: Registry,
    /// Who is told of progress.
    pub progress: Progress,
    /// How bench is kept apart from this machine.
    pub isolation: Isolation,
    /// What ends a running build.
    pub cancel: CancelToken,
    /// What the image is for.
    pub platform: Platform,
}

/// How the lock is come by.
#[derive(Clone, Debug)]
pub struct LockOptions {
    /// The lock file.
    pub path: PathBuf,
    /// Nothing may be resolved now: all must be pinned.
    pub locked: bool,
    /// Lock anew first, as `carafe lock` does.
    pub renew: bool,
}

/// Everything a build reads.
pub struct Sources {
    /// Frappe first; as in the lock.
    pub apps: Vec<PinnedApp>,
    /// Where bench runs.
    pub build_root: BuildRoot,
    /// What the image stands on.
    pub base: ResolvedImage,
    /// Where its blobs are.
    pub base_source: Arc<dyn ImageSource>,
}

/// The unpacked build image.
pub struct BuildRoot {
    /// The folder, which nobody writes to.
    pub path: PathBuf,
    /// `NAME=value` of its config.
    pub env: Vec<(String, String)>,
}

/// A finished image.
pub struct Built {
    /// The lock that made it.
    pub lock: Lock,
    /// Its documents.
    pub image: Image,
    /// Its own layers, bottom first.
    pub layers: Vec<PackedLayer>,
    /// What it was built from.
    pub sources: Sources,
    /// Where its blobs lie.
    pub layout: PathBuf,
}

/// From a spec to an image in an OCI layout.
///
/// The layout is written to `output` with the base image's blobs, complete; or, without
/// `output`, to a folder of this run with our own blobs alone, enough for a push.
pub fn build(
    spec: &Spec,
    options: &LockOptions,
    output: Option<&Path>,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<Built> {
    let locked = stages::lock::obtain(spec, options, context)?;
    let sources = stages::fetch::fetch(spec, &locked, context)?;
    let tree: BuiltTree = stages::bench::build(spec, &locked.lock, &sources, scratch, context)?;
    let layout = output.map_or_else(|| scratch.path().join("layout"), Path::to_owned);
    let layers = stages::pack::pack(&tree, &locked.lock, &spec.redactor(), &layout, context)?;
    let image = stages::assemble::assemble(&locked.lock, &tree, &layers, &sources, &layout, &spec.tags)?;
    if output.is_some() {
        stages::assemble::add_base(&sources, &layout, context)?;
    }
    Ok(Built { lock: locked.lock, image, layers, sources, layout })
}

/// Pushes a finished image to every reference.
pub fn push(built: &Built, targets: &[Reference], context: &Context) -> miette::Result<Vec<PushReport>> {
    stages::push::push_built(built, targets, context)
}

/// Pins everything in the spec.
pub fn lock(spec: &Spec, context: &Context) -> miette::Result<Lock> {
    stages::lock::make(spec, carafe_builder::lock::Moving::Allowed, context).map(|locked| locked.lock)
}
