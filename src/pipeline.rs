//! The pipeline: `Spec → Lock → Sources → BuiltTree → Layers → Image → Pushed`.
//!
//! 1. [`build::lock`]: names are resolved to commits and digests ([`Lock`]), or the lock file is read.
//! 2. [`build::fetch`]: the pinned commits, the build image's rootfs and the base image
//!    ([`Sources`](build::fetch::Sources)).
//! 3. [`build::bench`]: bench builds in the sandbox; [`build::egress`] records or replays its downloads.
//!    The result is normalized ([`BuiltTree`](carafe_builder::image_tree::BuiltTree)).
//! 4. [`build::pack`]: the tree becomes layers ([`PackedLayer`]).
//! 5. [`build::assemble`]: base image and layers become one image ([`Built`]).
//! 6. [`transfer`]: blobs, then manifests, then tags ([`PushReport`](crate::registry::PushReport)). A push
//!    starts before 2 and uploads each blob in the background as soon as its bytes are ready.
//!
//! Each stage is a function from one value to the next. Each command calls one function of this module.

use std::path::{Path, PathBuf};

use carafe_builder::cache::Scratch;
use carafe_builder::lock::Lock;
use carafe_builder::spec::{Network as UserNetwork, Spec};
use carafe_layers::diff::{DuplicateBlobs, ImagePair};
use carafe_layers::digest::Digest;
use carafe_layers::layout::LayoutWriter;
use carafe_layers::oci::Platform;
use carafe_layers::pack::PackedLayer;
use carafe_layers::source::{ResolvedImage, resolve};

use crate::build::lock::Locked;
use crate::build::recording::NetworkPlan;
use crate::build::{self, BuildPolicy, Built, LockOptions, bundled};
use crate::bundle::stage::{self as bundles, Output};
use crate::context::Context;
use crate::diff::report::DiffReport;
use crate::diff::{Opened, distance, read, read_both, reading};
use crate::images::ImageName;
use crate::registry::{PendingPush, Reference};
use crate::transfer::report::Delivered;
use crate::transfer::{self, Selection, Transfer};
use crate::verify::report::VerifyReport;
use crate::verify::{Claims, Level, import_recording, open_rebuilt};

/// Resolves every name of the spec and writes the lock to `path`. Returns the earlier lock, if there
/// was one, and the new one.
pub fn lock(
    spec: &Spec,
    path: &Path,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<(Option<Lock>, Lock)> {
    let old = Lock::read(path)?;
    let (new, _) = build::lock::lock_again(spec, path, policy, context)?;
    Ok((old, new))
}

/// Where the image of a build goes.
#[derive(Default)]
pub struct Destinations {
    /// The image's names. A Docker archive without a name of its own gets them.
    pub tags: Vec<Reference>,
    /// Push to all tags.
    pub push: bool,
    /// With the push, also push the recording as a referrer of the image.
    pub attach_recording: bool,
    /// An OCI layout or archive on this machine.
    pub output: Option<ImageName>,
}

/// Builds an image, from the lock file or from the policy's bundle, and brings it to its destinations.
/// Fails before the build if no registry accepts the push.
pub fn build(
    spec: &Spec,
    options: &LockOptions,
    destinations: &Destinations,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<(Built, Delivered)> {
    let push = start_push(destinations, context)?;
    let scratch = context.cache.scratch()?;
    let locked = match policy.bundle {
        Some(bundle) => bundled::unpack(bundle, context)?,
        None => build::lock::obtain(spec, options, policy, context)?,
    };
    let layout = destinations.output.as_ref().and_then(ImageName::directory);
    let built = build_image(spec, locked, layout, Some(&push), policy, &scratch, context)?;
    let delivered = deliver(&built, destinations, push, context)?;
    Ok((built, delivered))
}

/// Starts the push of an image that does not exist yet. Without `push`, it has no targets.
fn start_push(destinations: &Destinations, context: &Context) -> miette::Result<PendingPush> {
    let targets = if destinations.push { &destinations.tags[..] } else { &[] };
    let push = context.registry.start_push(targets, &context.progress)?;
    push.check()?;
    Ok(push)
}

/// Stages 2 to 5. A requested `layout` gets all blobs; otherwise Carafe's own layers are written to
/// `scratch`, which is enough for a push.
fn build_image(
    spec: &Spec,
    Locked { lock, apps, network }: Locked,
    layout: Option<&Path>,
    push: Option<&PendingPush>,
    policy: &BuildPolicy<'_>,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<Built> {
    let sources = build::fetch::fetch(spec, &lock, apps, policy, context)?;
    // A requested layout gets the base image's blobs too: they are read once, and sent from there.
    if let (Some(push), None) = (push, layout) {
        transfer::push::send_base(push, &sources, &lock.base_image, None);
    }
    let NetworkPlan { mode, output } = network;
    let (tree, traffic) = build::bench::build(spec, &lock, &sources, mode, scratch, policy, context)?;
    let lock = build::recording::finalize(lock, traffic.as_ref(), &output, context)?;
    let is_complete = layout.is_some();
    let layout = layout.map_or_else(|| scratch.path().join("layout"), Path::to_owned);
    let send_layer = |layer: &PackedLayer, layout: &LayoutWriter| {
        push.into_iter().for_each(|push| transfer::push::send_layer(push, &layer.descriptor, layout));
    };
    let layers = build::pack::pack(&tree, &lock, &spec.redactor(), &layout, &send_layer, context)?;
    if is_complete {
        let layout = build::assemble::add_base(&sources, &layout, context)?;
        if let Some(push) = push {
            transfer::push::send_base(push, &sources, &lock.base_image, Some(&layout));
        }
    }
    let image = build::assemble::assemble(&lock, &tree, &layers, &sources, &layout, &spec.tags)?;
    Ok(Built { lock, image, layers, sources, layout, traffic })
}

/// Stage 6: writes the image to this machine, then ends its push.
fn deliver(
    built: &Built,
    destinations: &Destinations,
    push: PendingPush,
    context: &Context,
) -> miette::Result<Delivered> {
    let mut transfer = transfer::push::transfer(&built.image, &built.layout, &built.sources)?;
    if destinations.attach_recording {
        let recording = built.traffic.as_ref().map(|traffic| &traffic.recording);
        transfer = transfer::referrers::attach_recording(transfer, recording, context)?;
    }
    let transfer = Transfer { names: destinations.tags.clone(), ..transfer };
    let is_written = |output: &&ImageName| matches!(output, ImageName::Layout { path, reference: None } if *path == built.layout);
    if let Some(output) = destinations.output.as_ref().filter(|output| !is_written(output)) {
        transfer.write(std::slice::from_ref(output), context)?;
    }
    Delivered::of(transfer.push(push))
}

/// Writes or pushes a bundle with everything that a build of the lock at `lock_file` needs; against
/// `delta_from`, only the blobs that it does not have.
pub fn bundle(
    spec: &Spec,
    lock_file: &Path,
    output: &Output,
    delta_from: Option<&ImageName>,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<bundles::Delivered> {
    let lock = build::lock::read(spec, lock_file)?;
    let recording = bundled::find_recording(&lock, lock_file, context)?;
    let scratch = context.cache.scratch()?;
    let bundle = bundled::gather(spec, &lock, &recording, policy, &scratch, context)?;
    bundles::deliver(&bundle, output, delta_from, context)
}

/// Pushes an image to every target.
pub fn push(
    image: &ImageName,
    targets: &[ImageName],
    context: &Context,
) -> miette::Result<(ResolvedImage, Delivered)> {
    let source = image.open(&context.registry, None)?;
    let image = resolve(&*source, &Platform::host())?;
    let delivered = Delivered::of(Transfer::of_image(source, &image).deliver(targets, context))?;
    Ok((image, delivered))
}

/// Copies an image, or an index with its images, to every target.
pub fn copy(
    source: &ImageName,
    selection: &Selection,
    targets: &[ImageName],
    context: &Context,
) -> miette::Result<(Digest, Delivered)> {
    let transfer = Transfer::open(source, selection, context)?;
    let delivered = Delivered::of(transfer.deliver(targets, context))?;
    Ok((transfer.graph.root.descriptor.digest, delivered))
}

/// Creates an index of images, and brings it with its images to every target.
pub fn create_index(
    images: &[ImageName],
    targets: &[ImageName],
    context: &Context,
) -> miette::Result<(Digest, Delivered)> {
    let transfer = transfer::index::create(images, context)?;
    let delivered = Delivered::of(transfer.deliver(targets, context))?;
    Ok((transfer.graph.root.descriptor.digest, delivered))
}

/// Compares two images and calls `show` with the differences. With `count_commits`, the apps'
/// repositories are asked how many commits are between two versions of an app.
pub fn diff<R>(
    want: &ImageName,
    got: &ImageName,
    count_commits: bool,
    context: &Context,
    show: impl FnOnce(&DiffReport<'_>) -> R,
) -> miette::Result<R> {
    let want = Opened::open(want, &context.registry)?;
    let got = Opened::open(got, &context.registry)?;
    let pair = read_both(&want, &got, &context.progress)?;
    let mut report = DiffReport::of(&want, &got, &pair)?;
    if count_commits {
        distance::measure(&want, &got, &mut report.frappe.apps, &context.cache, &context.progress);
    }
    Ok(show(&report))
}

/// What `carafe verify` verifies, and with which inputs.
pub struct VerifyOptions {
    /// The image.
    pub image: ImageName,
    /// What must be equal.
    pub level: Level,
    /// The directory of the spec, for relative paths of the lock.
    pub spec_directory: Option<PathBuf>,
    /// The mirrors and credentials of this machine.
    pub network: UserNetwork,
    /// The file with the recording that the lock names.
    pub recording: Option<PathBuf>,
    /// The rebuilt image is stored in this directory.
    pub keep: Option<PathBuf>,
}

/// Builds an image again from the lock in its label, compares the two, and calls `show` with the
/// differences. The downloads of earlier builds are not used: they may be the reason for a difference.
pub fn verify<R>(
    options: &VerifyOptions,
    policy: &BuildPolicy<'_>,
    context: &Context,
    show: impl FnOnce(&VerifyReport<'_>) -> R,
) -> miette::Result<R> {
    let policy = &BuildPolicy { reuse_downloads: false, ..*policy };
    let image = Opened::open(&options.image, &context.registry)?;
    let spec_directory = options.spec_directory.as_deref();
    let claims = Claims::read(&image, options.level, spec_directory, options.network.clone())?;
    match policy.bundle {
        Some(bundle) => claims.check_bundle(&image, bundle)?,
        None => {
            let file = options.recording.as_deref();
            import_recording(&image, &claims, file, policy.offline, context)?;
        }
    }
    claims.check_base(&image, policy, context)?;
    // Before the build, which takes minutes: a damaged image is rejected in seconds.
    let mut reading = reading();
    let contents = read(&image, &mut reading, DuplicateBlobs::Verify, &context.progress)?;
    let scratch = context.cache.scratch()?;
    let locked = match policy.bundle {
        Some(bundle) => bundled::unpack(bundle, context)?,
        None => Locked::for_rebuild(&claims.lock, context)?,
    };
    let built = build_image(&claims.spec, locked, options.keep.as_deref(), None, policy, &scratch, context)?;
    let rebuilt = open_rebuilt(&built)?;
    // Layers that both images name by the same digest, like the base image's, were verified above.
    let rebuilt_contents = read(&rebuilt, &mut reading, DuplicateBlobs::Skip, &context.progress)?;
    let pair = ImagePair::of(rebuilt_contents, contents);
    let report = VerifyReport::new(options.level, DiffReport::of(&rebuilt, &image, &pair)?);
    Ok(show(&report))
}
