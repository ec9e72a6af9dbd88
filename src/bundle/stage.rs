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
use crate::build::recording::{self, NetworkPlan};
use crate::bundle::write::{Delta, Written, to_directory, to_tar};
use crate::bundle::{Bundle, BundleBuilder, BundleError, BundleInputs};
use crate::context::Context;
use crate::images::ImageName;
use crate::materials::Materials;
use crate::output::pushed_names;
use crate::registry::{MountCandidates, PushReport, Reference};

/// Where a bundle goes.
pub enum Output {
    /// An OCI layout.
    Directory(PathBuf),
    /// One tar file.
    Tar(PathBuf),
    /// Names in registries.
    Registry(Vec<Reference>),
}

/// A bundle where it should be.
pub struct Delivered {
    /// Its digest; of a delta, that of the whole.
    pub digest: Digest,
    /// Under which it is found, with the digest.
    pub names: Vec<String>,
    /// What was written, if it is a directory or a file.
    pub written: Option<Written>,
    /// What was pushed, if it is in registries.
    pub pushed: Vec<PushReport>,
}

/// Puts everything together that a build of `lock` needs. Commits and images are brought here as
/// for a build; the record's bodies must be here already.
pub fn gather(
    spec: &Spec,
    lock: &Lock,
    record: &Recording,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<BundleBuilder> {
    let apps = fetch_apps(spec, &lock.apps, &context.commits, &context.progress)?;
    let images = [image(spec, &lock.build_image, context)?, image(spec, &lock.base_image, context)?];
    let bodies = BodyStore::of(&context.cache)?;
    let ingredients = BundleInputs {
        lock,
        record,
        apps: &apps,
        images: &images,
        commits: &context.commits,
        bodies: &bodies,
    };
    let directory = scratch.path().join("commits");
    fs::create_dir(&directory)
        .into_diagnostic()
        .wrap_err_with(|| format!("failed to create `{}`", directory.display()))?;
    Ok(BundleBuilder::gather(&ingredients, &directory)?)
}

/// Writes a bundle where it should go; against `base`, if there is one, only what that lacks. A
/// registry is never sent what it has.
pub fn deliver(
    draft: &BundleBuilder,
    output: &Output,
    base: Option<&ImageName>,
    context: &Context,
) -> miette::Result<Delivered> {
    let delta = match base {
        Some(base) => Some(Delta::against(&*base.open(&context.registry, None)?)?),
        None => None,
    };
    let (digest, delta, progress) = (draft.digest(), delta.as_ref(), &context.progress);
    let local = |kind: &str, path: &Path, written| {
        let names = vec![format!("{kind}:{}@{digest}", path.display())];
        Delivered { digest, names, written: Some(written), pushed: Vec::new() }
    };
    Ok(match output {
        Output::Directory(path) => local("oci", path, to_directory(draft, path, delta, progress)?),
        Output::Tar(path) => local("oci-archive", path, to_tar(draft, path, delta, progress)?),
        Output::Registry(targets) => {
            let known = MountCandidates::default();
            let pushed =
                context.registry.push_graph(draft.graph(), draft.source(), targets, &known, progress)?;
            Delivered { digest, names: pushed_names(&pushed), written: None, pushed }
        }
    })
}

/// The record that the lock at `path` names.
pub fn record(lock: &Lock, path: &Path, context: &Context) -> miette::Result<Recording> {
    let none = || BundleError::NoRecord { lock: path.display().to_string() };
    recording::find(lock.recording.ok_or_else(none)?, &recording::recording_path(path), context)
}

/// Opens a bundle: the first of `names`; the others may have what it lacks.
pub fn open(names: &[ImageName], context: &Context) -> miette::Result<Bundle> {
    let mut sources = Vec::<Arc<dyn ImageSource>>::new();
    for name in names {
        sources.push(name.open(&context.registry, None)?);
    }
    let mut sources = sources.into_iter();
    let bundle = sources.next().ok_or_else(|| miette!("no bundle is named"))?;
    Ok(Bundle::open(bundle, sources)?)
}

/// Brings what is in a bundle into this machine's stores: what is left for a build is its lock.
pub fn unpack(bundle: &Bundle, context: &Context) -> miette::Result<Locked> {
    let bodies = BodyStore::of(&context.cache)?;
    let apps = bundle.unpack(&context.commits, &bodies, &context.progress)?;
    let network = NetworkPlan::replay(bundle.record().clone());
    Ok(Locked { lock: bundle.lock().clone(), apps: Some(apps), network })
}

/// Everything that is in a bundle.
pub fn list(bundle: &Bundle, scratch: &Scratch, context: &Context) -> miette::Result<Materials> {
    let unpacked = Store::new(&Cache::at(&scratch.path().join("commits"))?)?;
    Ok(bundle.materials(&BodyStore::of(&context.cache)?, &unpacked))
}
