//! What an image says of its own making, held against the rest of what it says.

use std::path::Path;

use carafe_builder::lock::{Lock, LockedSource, newest};
use carafe_builder::spec::{Network, Spec};
use carafe_layers::image::{BASE_DIGEST, BASE_NAME};
use carafe_layers::text::escape_bytes;
use carafe_layers::time::rfc3339;

use crate::build::assemble::{LOCK_LABEL, MAX_LOCK_LABEL_BYTES};
use crate::build::fetch;
use crate::bundle::Bundle;
use crate::context::Context;
use crate::diff::Opened;

use super::Level;

/// What an image says that it was built from.
#[derive(Debug)]
pub struct Claims {
    /// The lock in its label.
    pub lock: Lock,
    /// The spec that a build of the lock needs.
    pub spec: Spec,
}

/// Why an image cannot be built again from what it says.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ClaimError {
    /// Something else built it.
    #[error(
        "failed to verify {image}: it has no label `{LOCK_LABEL}`, which holds the lock of every image that Carafe built"
    )]
    #[diagnostic(help(
        "it was built by something else, or its labels were taken away; `carafe diff` compares it with another image"
    ))]
    NoLock {
        /// The source's name.
        image: String,
    },
    /// Two of its documents, or two parts of one, cannot both be true.
    #[error(
        "failed to verify {image}: it contradicts itself: {what} should be `{want}` by its label `{LOCK_LABEL}`, and is `{got}`"
    )]
    #[diagnostic(help(
        "it was changed after it was built: do not trust it, and take it anew from where it was made"
    ))]
    Contradiction {
        /// The source's name.
        image: String,
        /// What is said twice.
        what: &'static str,
        /// What follows from the label.
        want: String,
        /// What stands there.
        got: String,
    },
    /// The label is longer than any that we write.
    #[error(
        "failed to verify {image}: its label `{LOCK_LABEL}` has {bytes} bytes, and carafe writes at most {MAX_LOCK_LABEL_BYTES}"
    )]
    #[diagnostic(help(
        "it was changed after it was built: do not trust it, and take it anew from where it was made"
    ))]
    TooLong {
        /// The source's name.
        image: String,
        /// The label's length.
        bytes: usize,
    },
    /// Its inputs are not what the image was built from.
    #[error("failed to verify {image}: its lock is {want}, and that of the bundle is {got}")]
    #[diagnostic(help("make the bundle from the lock in the image: `carafe inspect --lock` prints it"))]
    OtherBundle {
        /// The source's name.
        image: String,
        /// The digest of the image's lock.
        want: String,
        /// The digest of the bundle's.
        got: String,
    },
    /// An app that lay beside the spec, and nowhere else.
    #[error(
        "failed to verify {image}: its app `{app}` was taken from the directory `{path}`, and an image names no directory that others have"
    )]
    #[diagnostic(help("`--directory DIRECTORY` says where the spec and the app lie on this machine"))]
    LocalApp {
        /// The source's name.
        image: String,
        /// The app.
        app: String,
        /// The directory, as the spec named it.
        path: String,
    },
}

impl Claims {
    /// Refuses a bundle that was made for something else.
    pub fn check_bundle(&self, image: &Opened, bundle: &Bundle) -> Result<(), ClaimError> {
        if *bundle.lock() == self.lock {
            return Ok(());
        }
        let [want, got] = [&self.lock, bundle.lock()].map(|lock| lock.digest().to_string());
        Err(ClaimError::OtherBundle { image: image.source.name(), want, got })
    }

    /// Reads the label, and checks what can be checked before anything is fetched. `directory` is
    /// where relative paths of the lock begin; `network` says where public addresses are reached.
    pub fn read(
        image: &Opened,
        level: Level,
        directory: Option<&Path>,
        network: Network,
    ) -> miette::Result<Self> {
        let name = || image.source.name();
        let Some(lock) = image.lock.clone() else { return Err(ClaimError::NoLock { image: name() }.into()) };
        check_label(image, &lock)?;
        check_documents(image, &lock, level)?;
        if directory.is_none() {
            for app in &lock.apps {
                if let LockedSource::Local { path } = &app.source {
                    let (app, path) = (app.name.clone(), escape_bytes(path.as_bytes()));
                    return Err(ClaimError::LocalApp { image: name(), app, path }.into());
                }
            }
        }
        let mut spec = Spec::from_lock(&lock)?.reached_over(network)?;
        spec.directory = directory.unwrap_or(Path::new("")).to_owned();
        Ok(Self { lock, spec })
    }

    /// Checks the manifest's word about the base image, which takes the base's own documents.
    pub fn check_base(&self, image: &Opened, context: &Context) -> miette::Result<()> {
        let (base, _) = fetch::image(&self.spec, &self.lock.base_image, context)?;
        let digest = base.descriptor.digest.to_string();
        Ok(annotation(image, "the manifest's annotation of the base image's digest", BASE_DIGEST, &digest)?)
    }
}

/// A lock is written in one way only.
fn check_label(image: &Opened, lock: &Lock) -> Result<(), ClaimError> {
    let labels = image.image.config.config.labels.as_ref();
    let text = labels.and_then(|labels| labels.get(LOCK_LABEL)).map_or("", String::as_str);
    if text.len() > MAX_LOCK_LABEL_BYTES {
        return Err(ClaimError::TooLong { image: image.source.name(), bytes: text.len() });
    }
    let canonical = lock.to_toml();
    let mut lines = text.split('\n').zip(canonical.split('\n'));
    let (got, want) = match lines.find(|(got, want)| got != want) {
        Some(lines) => lines,
        None if text == canonical => return Ok(()),
        None => ("another number of lines", "one number of lines"),
    };
    Err(contradiction(image, "a line of the lock", want, got))
}

fn check_documents(image: &Opened, lock: &Lock, level: Level) -> Result<(), ClaimError> {
    let (epoch, apps) = (lock.source_date_epoch.to_string(), newest(lock.apps.iter()).to_string());
    if epoch != apps {
        return Err(contradiction(image, "the lock's source-date-epoch", &apps, &epoch));
    }
    let created = rfc3339(lock.source_date_epoch).unwrap_or_default();
    let found = image.image.config.created.as_deref().unwrap_or("missing");
    // A tool that cuts layers anew dates its work.
    if found != created && level != Level::Tree {
        return Err(contradiction(image, "the config's time of creation", &created, found));
    }
    annotation(image, "the manifest's annotation of the base image", BASE_NAME, &lock.base_image.reference)
}

/// Annotations are lost when an image is converted to Docker's format, and that is no lie.
fn annotation(image: &Opened, what: &'static str, key: &str, want: &str) -> Result<(), ClaimError> {
    match image.image.manifest.annotations.get(key) {
        Some(got) if got != want => Err(contradiction(image, what, want, got)),
        _ => Ok(()),
    }
}

fn contradiction(image: &Opened, what: &'static str, want: &str, got: &str) -> ClaimError {
    let [want, got] = [want, got].map(|text| escape_bytes(text.as_bytes()));
    ClaimError::Contradiction { image: image.source.name(), what, want, got }
}
