//! Images wherever they are, in this order: `name` (the name of an image in a registry, a layout or an
//! archive), `layered` (an image on top of a base image), `background` (background uploads from a
//! layout).

mod background;
mod layered;
mod name;

pub use self::background::{send_layer, send_mountable_layer};
pub use self::layered::{Layered, base_layers};
pub use self::name::{ArchiveKind, ImageName};
