//! Reads and verifies the layers of images that are compared.

use carafe_builder::progress::{Progress, Stage, Unit};
use carafe_layers::diff::{Contents, Pair, Reading, Repeated, limits};
use carafe_layers::unpack::UnpackError;

use super::inventory::NOTES;
use super::opened::Opened;

/// Reads images one after the other, and keeps the contents that
/// [`frappe_changes`](super::frappe::frappe_changes) needs.
pub fn reading<'a>() -> Reading<'a> {
    Reading::new(&limits(), &NOTES)
}

/// Reads and verifies all layers of an image; `repeated` applies to layers that an earlier image had.
pub fn read<'a>(
    image: &'a Opened,
    reading: &mut Reading<'a>,
    repeated: Repeated,
    progress: &Progress,
) -> Result<Contents<'a>, UnpackError> {
    let side = image.side();
    let task = progress.task(Stage::Fetch, "layers", Some(side.bytes()), Unit::Bytes);
    let done = std::cell::Cell::new(0);
    let advance = |bytes: u64| task.advance(bytes.saturating_sub(done.replace(bytes)));
    let contents = reading.image(side, repeated, &advance)?;
    task.finish(format!("read and verified: {}", image.source.name()));
    Ok(contents)
}

/// Reads and verifies all layers of both images.
pub fn read_both<'a>(
    want: &'a Opened,
    got: &'a Opened,
    progress: &Progress,
) -> Result<Pair<'a>, UnpackError> {
    let mut reading = reading();
    let want = read(want, &mut reading, Repeated::Read, progress)?;
    Ok(Pair::of(want, read(got, &mut reading, Repeated::Read, progress)?))
}
