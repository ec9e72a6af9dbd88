//! What goes wrong: what is being tried (`attempt`) with which rights (`access`), what a registry's
//! no means (`refusal`), its words made fit to be shown (`scrub`), and the error that all of it
//! becomes (`error`).

mod access;
mod attempt;
mod error;
mod refusal;
mod scrub;

use std::error::Error;

pub(super) use self::access::Access;
pub(super) use self::attempt::{Asker, Attempt};
pub use self::error::RegistryError;
pub use self::refusal::Rule;
pub(super) use self::scrub::scrub;

/// An error with its causes, for a warning.
pub(super) fn in_one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_in_words = cause.to_string();
        if !line.contains(&cause_in_words) {
            line = format!("{line}: {cause_in_words}");
        }
        next = cause.source();
    }
    line
}
