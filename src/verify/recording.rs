//! The recording that a rebuild replays.

use std::path::Path;

use miette::miette;

use super::claims::Claims;
use crate::build::recording::import;
use crate::context::Context;
use crate::diff::Opened;
use crate::transfer::referrers;

/// Copies the recording that the image's lock names into the cache, from `file` or from the referrers
/// of the image. With `offline`, fails if the cache does not have it then; otherwise the rebuild
/// requests everything again.
pub fn import_recording(
    image: &Opened,
    claims: &Claims,
    file: Option<&Path>,
    offline: bool,
    context: &Context,
) -> miette::Result<()> {
    let is_available = match (claims.lock.recording, file) {
        (Some(digest), Some(path)) => import(path, digest, context).map(|()| true)?,
        (Some(digest), None) => {
            referrers::fetch_recording(&*image.source, &image.image.descriptor.digest, digest, context)?
        }
        (None, _) => false,
    };
    if offline && !is_available {
        return Err(miette!(
            help = "pass a bundle (`--bundle`), or the recording (`--record`) if the cache has its bodies",
            "failed to verify {} with `--offline`: no recording of what bench downloaded was found",
            image.source.name()
        ));
    }
    Ok(())
}
