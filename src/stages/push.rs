//! Image → Pushed.

use std::path::Path;
use std::sync::Arc;

use carafe_layers::image::Image;
use carafe_layers::layout::LayoutSource;
use carafe_layers::source::resolve;

use super::copy::Parcel;
use super::fetch::Sources;
use crate::context::Context;
use crate::images::Layered;

/// An image that was just built, ready to be brought somewhere: our blobs from the layout, the
/// base's from where it is, or mounted where the target's registry has them.
pub fn parcel(image: &Image, layout: &Path, sources: &Sources, context: &Context) -> miette::Result<Parcel> {
    let layout = LayoutSource::open(layout, Some(&image.descriptor.digest.to_string()))?;
    let source = Arc::new(Layered { layout, base: Arc::clone(&sources.base_source) });
    let image = resolve(&*source, &context.platform)?;
    Ok(Parcel::of_image(source, &image))
}
