//! An image → does its own lock reproduce it?
//!
//! [`crate::pipeline::verify`] calls these in order:
//! 1. [`Claims`]: the lock in the image's label, checked against the rest of its documents.
//! 2. [`import_recording`]: the recording that the lock names.
//! 3. [`open_rebuilt`] opens the image that was built from this lock; [`crate::diff`] compares the two,
//!    `want` is the rebuilt image.
//! 4. [`report::VerifyReport`]: finds the [`ChangedInput`]s and decides with [`Level::is_met`].
//!
//! Import order, lowest first: `level`, `claims`, `recording`, `rebuilt`, `changed_inputs`, `report`.

mod changed_inputs;
mod claims;
mod level;
mod rebuilt;
mod recording;
pub mod report;

pub use self::changed_inputs::{ChangedInput, InputKind, changed_inputs};
pub use self::claims::{ClaimError, Claims};
pub use self::level::Level;
pub use self::rebuilt::open_rebuilt;
pub use self::recording::import_recording;
