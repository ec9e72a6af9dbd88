//! Reads and verifies the layers of images that are compared.

use carafe_builder::progress::{Progress, Stage, Unit};
use carafe_layers::diff::{DuplicateBlobs, ImageContents, ImagePair, LayerReader, limits};
use carafe_layers::unpack::UnpackError;

use super::inventory::NOTES;
use super::opened::Opened;

/// Reads images one after the other, and keeps the contents that
/// [`frappe_changes`](super::frappe::frappe_changes) needs.
pub fn reading<'a>() -> LayerReader<'a> {
    LayerReader::new(&limits(), &NOTES)
}

/// Reads and verifies all layers of an image; `repeated` applies to layers that an earlier image had.
pub fn read<'a>(
    image: &'a Opened,
    reading: &mut LayerReader<'a>,
    repeated: DuplicateBlobs,
    progress: &Progress,
) -> Result<ImageContents<'a>, UnpackError> {
    let side = image.side();
    let task = progress.task(Stage::Fetch, "layers", Some(side.bytes()), Unit::Bytes);
    let done = std::cell::Cell::new(0);
    let advance = |bytes: u64| task.advance(bytes.saturating_sub(done.replace(bytes)));
    let contents = reading.read(side, repeated, &advance)?;
    task.finish(format!("read and verified: {}", image.source.name()));
    Ok(contents)
}

/// Reads and verifies all layers of both images.
pub fn read_both<'a>(
    want: &'a Opened,
    got: &'a Opened,
    progress: &Progress,
) -> Result<ImagePair<'a>, UnpackError> {
    let mut reading = reading();
    let want = read(want, &mut reading, DuplicateBlobs::Verify, progress)?;
    Ok(ImagePair::of(want, read(got, &mut reading, DuplicateBlobs::Verify, progress)?))
}
