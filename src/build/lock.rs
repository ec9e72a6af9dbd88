//! Spec → [`Lock`]: reads the lock file, or pins every name.

use std::path::Path;
use std::sync::Arc;

use carafe_builder::lock::{LOCK_VERSION, Lock, LockedImage, PinnedApp, UnpinnedPolicy, newest, pin};
use carafe_builder::spec::{ImageSpec, Spec};
use carafe_layers::format::FormatVersion;
use carafe_layers::source::ImageSource;
use miette::miette;

use super::options::LockOptions;
use super::policy::BuildPolicy;
use super::recording::NetworkPlan;
use super::{bench, fetch};
use crate::context::Context;
use crate::images::ImageName;

/// A lock, and what was fetched for making it.
pub struct Locked {
    /// The lock.
    pub lock: Lock,
    /// The apps, if they were fetched for making the lock.
    pub apps: Option<Vec<PinnedApp>>,
    /// How the build uses the network.
    pub network: NetworkPlan,
}

impl Locked {
    /// The input of a second build of the image that has this lock: its recording is replayed if the cache has it,
    /// otherwise all requests are sent again.
    pub fn for_rebuild(lock: &Lock, context: &Context) -> miette::Result<Self> {
        let network = NetworkPlan::for_rebuild(lock, context)?;
        Ok(Self { lock: lock.clone(), apps: None, network })
    }
}

/// The lock for a build: the lock file, which must match the spec, or, if there is none, a lock that is made now, as
/// far as the options allow.
pub fn obtain(
    spec: &Spec,
    options: &LockOptions,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<Locked> {
    if options.relock {
        let (lock, apps) = lock_again(spec, &options.path, policy, context)?;
        let network = NetworkPlan::for_lock(&lock, true, options, policy.offline, context)?;
        return Ok(Locked { lock, apps: Some(apps), network });
    }
    if let Some(lock) = Lock::read(&options.path)? {
        check(&lock, spec, &options.path)?;
        let network = NetworkPlan::for_lock(&lock, true, options, policy.offline, context)?;
        return Ok(Locked { lock, apps: None, network });
    }
    if policy.offline {
        return Err(miette!(
            help = "run `carafe build --lock` with a network first",
            "failed to read `{}`: it does not exist, and no name can be resolved with `--offline`",
            options.path.display()
        ));
    }
    let unpinned = if options.locked { UnpinnedPolicy::Refused } else { UnpinnedPolicy::TagsOnly };
    let (lock, apps) = make(spec, unpinned, policy, context)?;
    let network = NetworkPlan::for_lock(&lock, false, options, policy.offline, context)?;
    Ok(Locked { lock, apps: Some(apps), network })
}

/// Pins every name and writes the lock file. If nothing changed, the lock keeps its recording.
pub fn lock_again(
    spec: &Spec,
    path: &Path,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<(Lock, Vec<PinnedApp>)> {
    let old = Lock::read(path);
    let (mut lock, apps) = make(spec, UnpinnedPolicy::Allowed, policy, context)?;
    // An old lock that cannot be read is replaced.
    if let Ok(Some(old)) = old {
        let unchanged = Lock { recording: old.recording, ..lock.clone() };
        lock = if unchanged == old { unchanged } else { lock };
    }
    lock.write(path)?;
    Ok((lock, apps))
}

/// Reads the lock at `path`, which must exist and match the spec.
pub fn read(spec: &Spec, path: &Path) -> miette::Result<Lock> {
    let lock = Lock::read(path)?.ok_or_else(|| {
        let (help, path) = ("run `carafe lock`, then `carafe build`", path.display());
        miette!(help = help, "failed to read `{path}`: it does not exist")
    })?;
    check(&lock, spec, path)?;
    Ok(lock)
}

/// Checks that the lock was made from this spec.
pub fn check(lock: &Lock, spec: &Spec, path: &Path) -> miette::Result<()> {
    if lock.matches(spec) {
        return Ok(());
    }
    Err(miette!(
        help = "run `carafe lock`, review the difference, and commit it",
        "`{}` is out of date: the spec has changed",
        path.display()
    ))
}

/// Pins every name.
fn make(
    spec: &Spec,
    unpinned: UnpinnedPolicy,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<(Lock, Vec<PinnedApp>)> {
    let build_image = pin_image(&spec.build_image, spec, unpinned, context)?;
    let base_image = pin_image(&spec.base_image, spec, unpinned, context)?;
    let apps = pin(spec, &context.commits, unpinned, &context.progress)?;
    let root = fetch::build_rootfs(spec, &build_image, policy, context)?;
    let tools = bench::probe_tools(&root, policy.isolation, context)?;
    let lock = Lock {
        version: LOCK_VERSION,
        format_version: FormatVersion::CURRENT,
        spec: spec.checksum(),
        source_date_epoch: newest(apps.iter().map(|app| &app.locked)),
        recording: None,
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
    unpinned: UnpinnedPolicy,
    context: &Context,
) -> miette::Result<LockedImage> {
    let name: ImageName = image.reference.parse().map_err(|error| image.origin.wrap(error))?;
    let has_no_digest = matches!(&name, ImageName::Registry(name) if name.digest().is_none());
    if unpinned == UnpinnedPolicy::Refused && has_no_digest {
        let help = "write it as `name@sha256:…`, or run `carafe lock` and commit carafe.lock";
        let message = format!("`{}` has no digest, and there is no lock", image.reference);
        return Err(image.origin.error(message, help).into());
    }
    let source: Arc<dyn ImageSource> = name
        .relative_to(&spec.directory)
        .open(&context.registry, None)
        .map_err(|error| image.origin.wrap(error))?;
    let (root, _) = source.root().map_err(|error| image.origin.wrap(error))?;
    if unpinned == UnpinnedPolicy::TagsOnly && has_no_digest {
        let (name, digest) = (&image.reference, root.digest);
        context
            .progress
            .warn(format!("`{name}` is not pinned: it is resolved to {digest}; `carafe lock` pins it"));
    }
    Ok(LockedImage { reference: image.reference.clone(), digest: root.digest })
}
