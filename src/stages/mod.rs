//! One file for each stage; [`crate::pipeline`] calls them in order.

pub mod assemble;
pub mod bench;
pub mod diff;
pub mod fetch;
pub mod lock;
pub mod pack;
pub mod push;
pub mod verify;
