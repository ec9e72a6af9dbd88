//! Where images go, and what is said when they are there.

use carafe_layers::digest::Digest;
use serde_json::json;

use crate::images::ImageName;
use crate::output;
use crate::registry::{PushReport, Reference, RegistryError};

/// The destinations that these names mean.
pub fn targets(names: &[String]) -> miette::Result<Vec<ImageName>> {
    names.iter().map(|name| Ok(name.parse::<ImageName>()?)).collect()
}

/// Those in registries.
pub fn references(targets: &[ImageName]) -> Vec<Reference> {
    targets.iter().filter_map(ImageName::reference).cloned().collect()
}

/// How a delivery ended: everywhere, or in some registries and not in others.
pub struct DeliveryOutcome {
    /// Where it is done.
    pub pushed: Vec<PushReport>,
    failure: Option<miette::Report>,
}

impl DeliveryOutcome {
    /// Fails where nothing was done anywhere.
    pub fn of(result: miette::Result<Vec<PushReport>>) -> miette::Result<Self> {
        let failure = match result {
            Ok(pushed) => return Ok(Self { pushed, failure: None }),
            Err(failure) => failure,
        };
        match failure.downcast_ref::<RegistryError>() {
            Some(RegistryError::PartialPush { done, .. }) => {
                Ok(Self { pushed: done.clone(), failure: Some(failure) })
            }
            _ => Err(failure),
        }
    }

    /// Every name under which the image is there now, by tag and digest.
    pub fn names(&self, digest: Digest, targets: &[ImageName]) -> Vec<String> {
        let files = targets.iter().filter(|target| target.reference().is_none());
        let files = files.map(|file| format!("{file}@{digest}"));
        files.chain(output::pushed_names(&self.pushed)).collect()
    }

    /// Says where the image is, on stdout.
    pub fn show(&self, digest: Digest, targets: &[ImageName], as_json: bool) {
        let names = self.names(digest, targets);
        if as_json {
            let pushed = self.pushed.iter().map(output::push_json).collect::<Vec<_>>();
            output::emit(&json!({"event": "result", "digest": digest, "names": names, "pushed": pushed}));
            return;
        }
        for name in names {
            output::to_stdout(name);
        }
    }

    /// `code`, or what went wrong in some of the registries.
    pub fn end(self, code: u8) -> miette::Result<u8> {
        self.failure.map_or(Ok(code), Err)
    }
}
