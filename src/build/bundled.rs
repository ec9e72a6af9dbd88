//! Lock and recording → bundle, and a bundle → the lock of a build.

use std::fs;
use std::path::Path;

use carafe_builder::cache::Scratch;
use carafe_builder::egress::{BodyStore, Recording};
use carafe_builder::lock::{Lock, fetch as fetch_apps};
use carafe_builder::spec::Spec;
use miette::{Context as _, IntoDiagnostic};

use super::fetch::image;
use super::lock::Locked;
use super::policy::BuildPolicy;
use super::recording::{self, NetworkPlan};
use crate::bundle::{Bundle, BundleBuilder, BundleError, BundleInputs};
use crate::context::Context;

/// Collects everything that a build of `lock` needs. Commits and images are fetched as for a build;
/// the cache must already have the recording's bodies.
pub fn gather(
    spec: &Spec,
    lock: &Lock,
    recording: &Recording,
    policy: &BuildPolicy<'_>,
    scratch: &Scratch,
    context: &Context,
) -> miette::Result<BundleBuilder> {
    let apps = fetch_apps(spec, &lock.apps, &context.commits, &context.progress)?;
    let images =
        [image(spec, &lock.build_image, policy, context)?, image(spec, &lock.base_image, policy, context)?];
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

/// The recording that the lock at `path` names.
pub fn find_recording(lock: &Lock, path: &Path, context: &Context) -> miette::Result<Recording> {
    let missing = || BundleError::NoRecording { lock: path.display().to_string() };
    recording::find(lock.recording.ok_or_else(missing)?, &recording::recording_path(path), context)
}

/// Copies the commits, bodies and recording of a bundle into the cache. The returned lock has
/// everything that its build needs.
pub fn unpack(bundle: &Bundle, context: &Context) -> miette::Result<Locked> {
    let bodies = BodyStore::of(&context.cache)?;
    let apps = bundle.unpack(&context.commits, &bodies, &context.progress)?;
    let network = NetworkPlan::replay(bundle.recording().clone());
    Ok(Locked { lock: bundle.lock().clone(), apps: Some(apps), network })
}
