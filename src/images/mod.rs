//! Images wherever they are, in this order: `name` (the name of an image in a registry, a layout or an
//! archive), `layered` (an image on top of a base image).

mod layered;
mod name;

pub use self::layered::{Layered, base_layers};
pub use self::name::{ArchiveKind, ImageName};
