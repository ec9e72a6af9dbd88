//! Opens, writes, pushes and lists bundles by the names that a user gives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use carafe_builder::cache::Cache;
use carafe_builder::egress::BodyStore;
use carafe_builder::git::Store;
use carafe_layers::digest::Digest;
use carafe_layers::source::ImageSource;
use miette::miette;

use crate::bundle::write::{Delta, Written, to_directory, to_tar};
use crate::bundle::{Bundle, BundleBuilder};
use crate::context::Context;
use crate::images::ImageName;
use crate::materials::Materials;
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
            let names = pushed.iter().flat_map(PushReport::names).collect();
            Delivered { digest, names, written: None, pushed }
        }
    })
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

/// The list of everything in a bundle.
pub fn list(name: &ImageName, context: &Context) -> miette::Result<Materials> {
    let scratch = context.cache.scratch()?;
    let bundle = open(std::slice::from_ref(name), context)?;
    let unpacked = Store::new(&Cache::at(&scratch.path().join("commits"))?)?;
    Ok(bundle.materials(&BodyStore::of(&context.cache)?, &unpacked))
}
