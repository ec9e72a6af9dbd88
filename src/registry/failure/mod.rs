//! What goes wrong: what is being tried (`attempt`) with which rights (`access`), what a registry's
//! no means (`refusal`), its words made fit to be shown (`scrub`), and the error that all of it
//! becomes (`error`).

mod access;
mod attempt;
mod error;
mod refusal;
mod scrub;

pub(super) use self::access::Access;
pub(super) use self::attempt::{Asker, Attempt};
pub use self::error::RegistryError;
pub use self::refusal::Rule;
pub(super) use self::scrub::scrub;
