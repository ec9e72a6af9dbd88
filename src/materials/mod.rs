//! Materials: the inputs of an image, as data. `carafe bundle --list` prints them; an SBOM or a
//! provenance statement can be derived from them.
//!
//! The lock names the apps and the images; its recording names every response body that bench
//! downloaded. Name, version and license of a package are read from the package itself.
//!
//! Import order: `material`, `package`, `archive`, `list`, `report`.

mod archive;
mod list;
mod material;
mod package;
pub mod report;

pub use self::list::{MaterialSource, Materials};
pub use self::material::{Kind, Material};
