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
            Delivered {
                digest,
                names: pushed.iter().flat_map(PushReport::names).collect(),
                written: None,
                pushed,
            }
        }
    })
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

/// Everything that is in a bundle.
pub fn list(name: &ImageName, context: &Context) -> miette::Result<Materials> {
    let scratch = context.cache.scratch()?;
    let bundle = open(std::slice::from_ref(name), context)?;
    let unpacked = Store::new(&Cache::at(&scratch.path().join("commits"))?)?;
    Ok(bundle.materials(&BodyStore::of(&context.cache)?, &unpacked))
}
