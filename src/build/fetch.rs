//! Lock → [`Sources`]: the pinned commits, the rootfs of the build image, the documents of the base image.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use carafe_builder::lock::{Lock, LockedImage, PinnedApp, fetch as fetch_apps};
use carafe_builder::progress::{Stage, Unit};
use carafe_builder::spec::Spec;
use carafe_layers::oci::{Platform, total_size};
use carafe_layers::source::{ImageSource, ResolvedImage, resolve};
use carafe_layers::unpack::{UnpackLimits, unpack_image};
use miette::{Context as _, IntoDiagnostic, Report, miette};

use super::policy::BuildPolicy;
use crate::context::Context;
use crate::images::ImageName;

/// The version of the cache's bucket `roots`.
const ROOTS_VERSION: u32 = 1;

/// All inputs of a build.
pub struct Sources {
    /// The apps in the order of the lock, frappe first.
    pub apps: Vec<PinnedApp>,
    /// The rootfs of the build image.
    pub build_rootfs: BuildRootfs,
    /// The documents of the base image.
    pub base: ResolvedImage,
    /// The source of the base image's blobs.
    pub base_source: Arc<dyn ImageSource>,
}

/// The rootfs of the build image.
pub struct BuildRootfs {
    /// The directory, which is never written to after it is unpacked.
    pub path: PathBuf,
    /// The environment variables of the image's config, as name and value.
    pub env: Vec<(String, String)>,
}

/// Fetches all inputs of a build, apps and images in parallel. `apps` is set if the apps were fetched for making the
/// lock.
pub fn fetch(
    spec: &Spec,
    lock: &Lock,
    apps: Option<Vec<PinnedApp>>,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<Sources> {
    thread::scope(|scope| {
        let root = scope.spawn(|| build_rootfs(spec, &lock.build_image, policy, context));
        let base = scope.spawn(|| image(spec, &lock.base_image, policy, context));
        let apps = match apps {
            Some(apps) => apps,
            None => fetch_apps(spec, &lock.apps, &context.commits, &context.progress)?,
        };
        let build_rootfs = root.join().expect("unpacking does not panic")?;
        let (base, base_source) = base.join().expect("resolving does not panic")?;
        Ok(Sources { apps, build_rootfs, base, base_source })
    })
}

/// Resolves an image at its locked digest.
pub fn image(
    spec: &Spec,
    locked: &LockedImage,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<(ResolvedImage, Arc<dyn ImageSource>)> {
    let bundled = policy.bundle.map(|bundle| bundle.image(locked)).transpose()?.flatten();
    let source = match bundled {
        Some(source) => source,
        None => open_by_name(spec, locked, policy.offline, context)?,
    };
    let resolved = resolve(&*source, &Platform::host())?;
    if resolved.root.digest != locked.digest {
        return Err(miette!(
            help = "if the change is intended, run `carafe lock`",
            "`{}` does not match the lock: its digest is {}, the lock has {}",
            locked.reference,
            resolved.root.digest,
            locked.digest
        ));
    }
    Ok((resolved, source))
}

fn open_by_name(
    spec: &Spec,
    locked: &LockedImage,
    offline: bool,
    context: &Context,
) -> miette::Result<Arc<dyn ImageSource>> {
    let name: ImageName = locked.reference.parse()?;
    if offline && matches!(name, ImageName::Registry(_)) {
        return Err(miette!(
            help = "build from a bundle, which contains it, or use an OCI layout on disk: `oci:DIRECTORY`",
            "failed to read `{}`: registries are not available with `--offline`",
            locked.reference
        ));
    }
    Ok(name.relative_to(&spec.directory).open(&context.registry, Some(locked.digest))?)
}

/// The rootfs of the build image, which is unpacked once into the cache. Without a sandbox: this machine's root.
pub fn build_rootfs(
    spec: &Spec,
    locked: &LockedImage,
    policy: &BuildPolicy<'_>,
    context: &Context,
) -> miette::Result<BuildRootfs> {
    if !policy.isolation.uses_build_image() {
        return Ok(BuildRootfs { path: "/".into(), env: Vec::new() });
    }
    let (image, source) = image(spec, locked, policy, context)?;
    let bucket = context.cache.bucket("roots", ROOTS_VERSION)?;
    let entry = bucket
        .entry(&image.descriptor.digest.hex(), |directory| unpack(&*source, &image, directory, context))?;
    let env = image.config.config.env.iter();
    let env = env.filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), value.into()));
    Ok(BuildRootfs { path: entry.join("root"), env: env.collect() })
}

fn unpack(
    source: &dyn ImageSource,
    image: &ResolvedImage,
    directory: &Path,
    context: &Context,
) -> miette::Result<()> {
    let root = directory.join("root");
    std::fs::create_dir(&root)
        .into_diagnostic()
        .wrap_err_with(|| format!("failed to create `{}`", root.display()))?;
    let total = total_size(&image.manifest.layers);
    let task = context.progress.task(Stage::Fetch, "build image", Some(total), Unit::Bytes);
    let done = std::cell::Cell::new(0);
    let unpacked = unpack_image(source, image, &root, &UnpackLimits::default(), &|bytes| {
        task.advance(bytes.saturating_sub(done.replace(bytes)));
    });
    let unpacked = unpacked
        .map_err(Report::from)
        .wrap_err_with(|| format!("failed to unpack the build image into `{}`", root.display()))?;
    task.finish(format!("{} entries unpacked", unpacked.entries));
    Ok(())
}
