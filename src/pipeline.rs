//! The pipeline: `Spec → Lock → Sources → BuiltTree → Layers → Image → Pushed`.
//!
//! 1. [`build::lock`]: names become commits and digests ([`Lock`]), or the lock file is read.
//! 2. [`build::fetch`]: the pinned commits, the build root and the base image ([`Sources`]).
//! 3. [`build::bench`]: bench builds in a sandbox, whose [`build::egress`] records or replays what
//!    it downloads; what it left is settled ([`BuiltTree`](carafe_builder::image_tree::BuiltTree)).
//! 4. [`build::pack`]: the tree becomes layers ([`PackedLayer`]) in an OCI layout.
//! 5. [`build::assemble`]: the base and the layers become one image ([`Built`]).
//! 6. [`transfer::push`]: blobs, then the manifest, then the tags ([`PushReport`]). It begins beside 3
//!    and 4: a blob goes as soon as its bytes are there.
//!
//! Each arrow is one function from one value to the next, so that the types keep the order.

use std::path::{Path, PathBuf};

use carafe_builder::cache::Scratch;
use carafe_builder::lock::Lock;
use carafe_builder::spec::Spec;
use carafe_layers::image::Image;
use carafe_layers::pack::PackedLayer;

use crate::build::egress::Traffic;
use crate::build::fetch::Sources;
use crate::build::lock::{LockOptions, Locked};
use crate::build::recording::Network;
use crate::bundle::Bundle;
use crate::context::Context;
use crate::images::ImageName;
use crate::registry::{PendingPush, PushReport, Reference};
use crate::transfer::Transfer;
use crate::verify::Claims;
use crate::{build, bundle, transfer};

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
    /// What went through its door, if it had one.
    pub traffic: Option<Traffic>,
}

/// Where an image goes while it is being made.
#[derive(Clone, Copy, Default)]
pub struct Destinations<'a> {
    /// An OCI layout, which gets the base image's blobs too and is complete. Without it, our own
    /// blobs lie in a directory of this run, enough for a push.
    pub layout: Option<&'a Path>,
    /// A push that gets each blob as soon as its bytes are there.
    pub push: Option<&'a PendingPush>,
}

/// From a spec to an image in an OCI layout.
pub fn build(
    spec: &Spec,
    options: &LockOptions,
    outlet: Destinations<'_>,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<Built> {
    let locked = build::lock::obtain(spec, options, context)?;
    build_locked(spec, locked, outlet, scratch, context)
}

/// The same from a lock that is at hand.
pub fn build_locked(
    spec: &Spec,
    Locked { lock, apps, network }: Locked,
    Destinations { layout, push }: Destinations<'_>,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<Built> {
    let sources = build::fetch::fetch(spec, &lock, apps, context)?;
    // Where the base is copied here anyway, it is read once, and sent from here.
    if let (Some(push), None) = (push, layout) {
        transfer::push::send_base(push, &sources, &lock.base_image, None);
    }
    let Network { mode, keep } = network;
    let (tree, traffic) = build::bench::build(spec, &lock, &sources, mode, scratch, context)?;
    let lock = build::recording::settle(lock, traffic.as_ref(), &keep, context)?;
    let is_kept = layout.is_some();
    let layout = layout.map_or_else(|| scratch.path().join("layout"), Path::to_owned);
    let layers = build::pack::pack(&tree, &lock, &spec.redactor(), &layout, push, context)?;
    if is_kept {
        let layout = build::assemble::add_base(&sources, &layout, context)?;
        if let Some(push) = push {
            transfer::push::send_base(push, &sources, &lock.base_image, Some(&layout));
        }
    }
    let image = build::assemble::assemble(&lock, &tree, &layers, &sources, &layout, &spec.tags)?;
    Ok(Built { lock, image, layers, sources, layout, traffic })
}

/// From a bundle: its lock, its commits, its answers and its images, and nothing else.
pub fn build_bundle(
    spec: &Spec,
    bundle: &Bundle,
    outlet: Destinations<'_>,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<Built> {
    let locked = bundle::stage::unpack(bundle, context)?;
    build_locked(spec, locked, outlet, scratch, context)
}

/// Builds again the image that says so itself. The client caches are left alone: what is in them
/// may be what went wrong the first time.
pub fn rebuild(
    claims: &Claims,
    output: Option<&Path>,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<Built> {
    let locked = match &context.bundle {
        Some(bundle) => bundle::stage::unpack(bundle, context)?,
        None => {
            let network = Network::again(&claims.lock, context)?;
            Locked { lock: claims.lock.clone(), apps: None, network }
        }
    };
    build_locked(&claims.spec, locked, Destinations { layout: output, push: None }, scratch, context)
}

/// Brings a finished image to every target on this machine, then ends its push. An archive for
/// Docker that has no name of its own is named `tags`. Its record goes along if it is to be attached.
pub fn deliver(
    built: &Built,
    tags: &[Reference],
    targets: &[ImageName],
    push: PendingPush,
    attach_record: bool,
    context: &Context,
) -> miette::Result<Vec<PushReport>> {
    let mut parcel = transfer::push::built_image(&built.image, &built.layout, &built.sources, context)?;
    if attach_record {
        parcel = transfer::referrers::attach_recording(
            parcel,
            built.traffic.as_ref().map(|traffic| &traffic.record),
            context,
        )?;
    }
    let is_there = |target: &&ImageName| matches!(target, ImageName::Layout { path, reference: None } if *path == built.layout);
    let targets: Vec<_> = targets.iter().filter(|target| !is_there(target)).cloned().collect();
    let parcel = Transfer { names: tags.to_vec(), ..parcel };
    parcel.write(&targets, context)?;
    parcel.push(push)
}

/// Pins everything in the spec and writes the lock to `path`.
pub fn lock(spec: &Spec, path: &Path, context: &Context) -> miette::Result<Lock> {
    build::lock::make_anew(spec, path, context).map(|(lock, _)| lock)
}
