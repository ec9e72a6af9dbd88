//! Lock and record → bundle, and back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carafe_builder::cache::{Cache, Scratch};
use carafe_builder::egress::{BodyStore, Recording};
use carafe_builder::git::Store;
use carafe_builder::lock::{Lock, fetch as fetch_apps};
use carafe_builder::spec::Spec;
use carafe_layers::digest::Digest;
use carafe_layers::source::ImageSource;
use miette::{Context as _, IntoDiagnostic, miette};

use crate::build::fetch::image;
use crate::build::lock::Locked;
use crate::build::recording::{self, Network};
use crate::bundle::write::{Delta, Written, to_directory, to_tar};
use crate::bundle::{Bundle, BundleBuilder, BundleError, BundleInputs};
use crate::context::Context;
use crate::images::ImageName;
use crate::materials::Materials;
use crate::output::pushed_names;
use crate::registry::{MountCandidates, PushReport, Reference};

/// The destination of a bundle.
pub enum Output {
    /// An OCI layout.
    Directory(PathBuf),
    /// One tar file.
    Tar(PathBuf),
    /// References in registries.
    Registry(Vec<Reference>),
}

/// A delivered bundle.
pub struct Delivered {
    /// The digest; for a delta, that of the complete bundle.
    pub digest: Digest,
    /// The names of the bundle, with the digest.
    pub names: Vec<String>,
    /// What was written to a directory or a file.
    pub written: Option<Written>,
    /// What was pushed to registries.
    pub pushed: Vec<PushReport>,
}

/// Gathers everything that a build of `lock` needs. Commits and images are fetched as for a build; the
/// recorded response bodies must be in the cache already.
pub fn gather(
    spec: &Spec,
    lock: &Lock,
    recording: &Recording,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<BundleBuilder> {
    let apps = fetch_apps(spec, &lock.apps, &context.commits, &context.progress)?;
    let images = [image(spec, &lock.build_image, context)?, image(spec, &lock.base_image, context)?];
    let bodies = BodyStore::of(&context.cache)?;
    let inputs = BundleInputs {
        lock,
        recording,
        apps: &apps,
        images: &images,
        commits: &context.commits,
        bodies: &bodies,
    };
    let directory = scratch.path().join("commits");
    fs::create_dir(&directory)
        .into_diagnostic()
        .wrap_err_with(|| format!("failed to create `{}`", directory.display()))?;
    Ok(BundleBuilder::gather(&inputs, &directory)?)
}

/// Delivers a bundle to `output`. With `base`, writes a delta: only the blobs that `base` lacks. A
/// registry receives only the blobs that it does not have.
pub fn deliver(
    builder: &BundleBuilder,
    output: &Output,
    base: Option<&ImageName>,
    context: &Context,
) -> miette::Result<Delivered> {
    let delta = match base {
        Some(base) => Some(Delta::against(&*base.open(&context.registry, None)?)?),
        None => None,
    };
    let (digest, delta, progress) = (builder.digest(), delta.as_ref(), &context.progress);
    let local = |kind: &str, path: &Path, written| {
        let names = vec![format!("{kind}:{}@{digest}", path.display())];
        Delivered { digest, names, written: Some(written), pushed: Vec::new() }
    };
    Ok(match output {
        Output::Directory(path) => local("oci", path, to_directory(builder, path, delta, progress)?),
        Output::Tar(path) => local("oci-archive", path, to_tar(builder, path, delta, progress)?),
        Output::Registry(targets) => {
            let candidates = MountCandidates::default();
            let pushed = context.registry.push_graph(
                builder.graph(),
                builder.source(),
                targets,
                &candidates,
                progress,
            )?;
            Delivered { digest, names: pushed_names(&pushed), written: None, pushed }
        }
    })
}

/// The recording that the lock at `path` names.
pub fn recording(lock: &Lock, path: &Path, context: &Context) -> miette::Result<Recording> {
    let none = || BundleError::NoRecording { lock: path.display().to_string() };
    recording::find(lock.record.ok_or_else(none)?, &recording::record_path(path), context)
}

/// Opens the bundle that the first of `names` names; blobs that it lacks are read from the others.
pub fn open(names: &[ImageName], context: &Context) -> miette::Result<Bundle> {
    let mut sources = Vec::<Arc<dyn ImageSource>>::new();
    for name in names {
        sources.push(name.open(&context.registry, None)?);
    }
    let mut sources = sources.into_iter();
    let bundle = sources.next().ok_or_else(|| miette!(help = "pass `--bundle`", "no bundle is given"))?;
    Ok(Bundle::open(bundle, sources)?)
}

/// Imports a bundle's commits and bodies into the stores of this machine, and returns its lock for a
/// build.
pub fn unpack(bundle: &Bundle, context: &Context) -> miette::Result<Locked> {
    let bodies = BodyStore::of(&context.cache)?;
    let apps = bundle.unpack(&context.commits, &bodies, &context.progress)?;
    let network = Network::replay(bundle.recording().clone());
    Ok(Locked { lock: bundle.lock().clone(), apps: Some(apps), network })
}

/// The list of everything in a bundle.
pub fn list(bundle: &Bundle, scratch: &Scratch, context: &Context) -> miette::Result<Materials> {
    let unpacked = Store::new(&Cache::at(&scratch.path().join("commits"))?)?;
    Ok(bundle.materials(&BodyStore::of(&context.cache)?, &unpacked))
}
