//! What an image was built from according to its label, checked against its other documents.

use std::path::Path;

use carafe_builder::lock::{Lock, LockedSource, newest};
use carafe_builder::spec::{Network, Spec, format_bytes};
use carafe_layers::image::{BASE_DIGEST, BASE_NAME};
use carafe_layers::text::escape_bytes;
use carafe_layers::time::rfc3339;

use super::level::Level;
use crate::build::assemble::{LOCK_LABEL, MAX_LOCK_LABEL_BYTES};
use crate::build::{BuildPolicy, fetch};
use crate::bundle::Bundle;
use crate::context::Context;
use crate::diff::Opened;

/// What an image was built from according to its label.
#[derive(Debug)]
pub struct Claims {
    /// The lock in its label.
    pub lock: Lock,
    /// The spec that a build of the lock needs.
    pub spec: Spec,
}

/// Why an image cannot be rebuilt.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ClaimError {
    /// Carafe did not build it.
    #[error(
        "failed to verify {image}: it has no label `{LOCK_LABEL}`, which has the lock of an image that Carafe built"
    )]
    #[diagnostic(help(
        "another tool built it or removed its labels; `carafe diff` compares it with another image"
    ))]
    NoLock {
        /// The source's name.
        image: String,
    },
    /// Two of its documents, or two parts of one, contradict each other.
    #[error(
        "failed to verify {image}: it contradicts its label `{LOCK_LABEL}`: {what} should be `{want}`, but is `{got}`"
    )]
    #[diagnostic(help("it was changed after the build: do not trust it, and get it again from its builder"))]
    Contradiction {
        /// The source's name.
        image: String,
        /// What both parts contain.
        what: &'static str,
        /// The value according to the label.
        want: String,
        /// The value in the image.
        got: String,
    },
    /// The label is longer than any that Carafe writes.
    #[error(
        "failed to verify {image}: its label `{LOCK_LABEL}` has {}, more than the {} that Carafe writes",
        format_bytes(*bytes as u64), format_bytes(MAX_LOCK_LABEL_BYTES as u64)
    )]
    #[diagnostic(help("it was changed after the build: do not trust it, and get it again from its builder"))]
    TooLong {
        /// The source's name.
        image: String,
        /// The label's length in bytes.
        bytes: usize,
    },
    /// The bundle was created from another lock.
    #[error("failed to verify {image}: its lock is {want}, the lock of the bundle is {got}")]
    #[diagnostic(help("create the bundle from the lock in the image: `carafe inspect --lock` prints it"))]
    OtherBundle {
        /// The source's name.
        image: String,
        /// The digest of the image's lock.
        want: String,
        /// The digest of the bundle's lock.
        got: String,
    },
    /// An app came from a directory next to the spec.
    #[error(
        "failed to verify {image}: its app `{app}` came from the directory `{path}` next to the spec, which the image does not contain"
    )]
    #[diagnostic(help("pass the directory of the spec on this machine: `--spec-dir DIR`"))]
    LocalApp {
        /// The source's name.
        image: String,
        /// The app's name.
        app: String,
        /// The directory, as in the spec.
        path: String,
    },
}

impl Claims {
    /// Rejects a bundle that was created from another lock.
    pub fn check_bundle(&self, image: &Opened, bundle: &Bundle) -> Result<(), ClaimError> {
        if *bundle.lock() == self.lock {
            return Ok(());
        }
        let [want, got] = [&self.lock, bundle.lock()].map(|lock| lock.digest().to_string());
        Err(ClaimError::OtherBundle { image: image.source.name(), want, got })
    }

    /// Reads the label, and checks everything that can be checked before anything is fetched. Relative
    /// paths of the lock are resolved in `directory`; `network` has the mirrors of this machine.
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
        let mut spec = lock.to_spec()?.with_network(network)?;
        spec.directory = directory.unwrap_or(Path::new("")).to_owned();
        Ok(Self { lock, spec })
    }

    /// Checks the manifest's annotation of the base image's digest against the base image itself.
    pub fn check_base(
        &self,
        image: &Opened,
        policy: &BuildPolicy<'_>,
        context: &Context,
    ) -> miette::Result<()> {
        let (base, _) = fetch::image(&self.spec, &self.lock.base_image, policy, context)?;
        let digest = base.descriptor.digest.to_string();
        Ok(annotation(image, "the manifest's annotation of the base image's digest", BASE_DIGEST, &digest)?)
    }
}

/// Checks that the label is exactly what Carafe writes for its lock.
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
        None => ("a different number of lines", "the number of lines that Carafe writes"),
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
    // A tool that splits layers differently sets its own time.
    if found != created && level != Level::Tree {
        return Err(contradiction(image, "the config's time of creation", &created, found));
    }
    annotation(image, "the manifest's annotation of the base image", BASE_NAME, &lock.base_image.reference)
}

/// Checks an annotation if the manifest has it: a conversion to Docker's format removes all of them.
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
