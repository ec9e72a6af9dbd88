//! Spec → Lock: read the lock file, or pin every name now.

use std::path::Path;
use std::sync::Arc;

use carafe_builder::lock::{LOCK_VERSION, Lock, LockedImage, PinnedApp, UnpinnedPolicy, newest, pin};
use carafe_builder::spec::{ImageSpec, Spec};
use carafe_layers::format::FormatVersion;
use carafe_layers::source::ImageSource;
use miette::miette;

use super::lock_options::LockOptions;
use super::policy::BuildPolicy;
use super::recording::Network;
use super::{bench, fetch};
use crate::context::Context;
use crate::images::ImageName;

/// A lock, and what was fetched while it was made.
pub struct Locked {
    /// The lock.
    pub lock: Lock,
    /// The apps, where they had to be fetched for the lock.
    pub apps: Option<Vec<PinnedApp>>,
    /// What the build does about its network.
    pub network: Network,
}

impl Locked {
    /// What is needed to build again the image that has this lock: its recording is replayed if the
    /// cache has it, otherwise everything is requested again.
    pub fn again(lock: &Lock, context: &Context) -> miette::Result<Self> {
        Ok(Self { network: Network::again(lock, context)?, lock: lock.clone(), apps: None })
    }
}

/// The lock for a build: the file's, if it fits the spec; else one that is made now, as far as
/// the options allow.
pub fn obtain(
    spec: &Spec,
    options: &LockOptions,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<Locked> {
    if options.renew {
        let (lock, apps) = make_anew(spec, &options.path, policy, context)?;
        let network = Network::of(&lock, true, options, policy.offline, context)?;
        return Ok(Locked { lock, apps: Some(apps), network });
    }
    if let Some(lock) = Lock::read(&options.path)? {
        check(&lock, spec, &options.path)?;
        let network = Network::of(&lock, true, options, policy.offline, context)?;
        return Ok(Locked { lock, apps: None, network });
    }
    if policy.offline {
        let (help, path) =
            ("lock first, where there is a network: `carafe build --lock`", options.path.display());
        return Err(miette!(help = help, "there is no `{path}`, and with `--offline` nothing is resolved"));
    }
    let moving = if options.locked { UnpinnedPolicy::Refused } else { UnpinnedPolicy::TagsOnly };
    let (lock, apps) = make(spec, moving, policy, context)?;
    let network = Network::of(&lock, false, options, policy.offline, context)?;
    Ok(Locked { lock, apps: Some(apps), network })
}

/// Pins everything and writes the lock. If all is as it was, it is still recorded.
pub fn make_anew(
    spec: &Spec,
    path: &Path,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<(Lock, Vec<PinnedApp>)> {
    let old = Lock::read(path);
    let (mut lock, apps) = make(spec, UnpinnedPolicy::Allowed, policy, context)?;
    // One that cannot be read is what `carafe lock` is for.
    if let Ok(Some(old)) = old {
        let recorded = Lock { record: old.record, ..lock.clone() };
        lock = if recorded == old { recorded } else { lock };
    }
    lock.write(path)?;
    Ok((lock, apps))
}

/// The lock at `path`, which must exist and have been made from `spec`.
pub fn read(spec: &Spec, path: &Path) -> miette::Result<Lock> {
    let lock = Lock::read(path)?.ok_or_else(|| {
        let (help, path) = ("run `carafe lock`, then `carafe build`", path.display());
        miette!(help = help, "failed to read `{path}`: the file does not exist")
    })?;
    check(&lock, spec, path)?;
    Ok(lock)
}

/// Whether the lock was made from this spec.
pub fn check(lock: &Lock, spec: &Spec, path: &Path) -> miette::Result<()> {
    if lock.fits(spec) {
        return Ok(());
    }
    Err(miette!(
        help = "run `carafe lock`, look at the difference, and commit it",
        "the spec has moved away from `{}`",
        path.display()
    ))
}

/// Pins everything.
fn make(
    spec: &Spec,
    moving: UnpinnedPolicy,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<(Lock, Vec<PinnedApp>)> {
    let build_image = pin_image(&spec.build_image, spec, moving, context)?;
    let base_image = pin_image(&spec.base_image, spec, moving, context)?;
    let apps = pin(spec, &context.commits, moving, &context.progress)?;
    let root = fetch::build_root(spec, &build_image, policy, context)?;
    let tools = bench::probe_tools(&root, policy.isolation, context)?;
    let lock = Lock {
        version: LOCK_VERSION,
        format_version: FormatVersion::CURRENT,
        spec: spec.checksum(),
        source_date_epoch: newest(apps.iter().map(|app| &app.locked)),
        record: None,
        build_image,
        base_image,
        tools,
        env: spec.env.clone(),
        apps: apps.iter().map(|app| app.locked.clone()).collect(),
    };
    Ok((lock, apps))
}

fn pin_image(
    image: &ImageSpec,
    spec: &Spec,
    moving: UnpinnedPolicy,
    context: &Context,
) -> miette::Result<LockedImage> {
    let name: ImageName = image.reference.parse().map_err(|error| image.origin.wrap(error))?;
    let is_unpinned = matches!(&name, ImageName::Registry(name) if name.digest().is_none());
    if moving == UnpinnedPolicy::Refused && is_unpinned {
        let help = "write it as `name@sha256:…`, or run `carafe lock` and commit carafe.lock";
        let message = format!("`{}` names no digest, and there is no lock", image.reference);
        return Err(image.origin.error(message, help).into());
    }
    let source: Arc<dyn ImageSource> = name
        .relative_to(&spec.directory)
        .open(&context.registry, None)
        .map_err(|error| image.origin.wrap(error))?;
    let (root, _) = source.root().map_err(|error| image.origin.wrap(error))?;
    if moving == UnpinnedPolicy::TagsOnly && is_unpinned {
        let (name, digest) = (&image.reference, root.digest);
        context.progress.warn(format!("`{name}` is {digest} now: `carafe lock` pins it"));
    }
    Ok(LockedImage { reference: image.reference.clone(), digest: root.digest })
}
