//! A door between clients and servers of this machine.

mod inside;
mod standin;

pub use inside::{Got, Inside, impatient, upstream};
pub use standin::{Act, Asked, Standin, answer};
