//! One file for each stage; [`crate::pipeline`] calls them in order.

pub mod assemble;
pub mod attached;
pub mod bench;
pub mod bundle;
pub mod copy;
pub mod diff;
pub mod distance;
pub mod doctor;
pub mod door;
pub mod downloads;
pub mod fetch;
pub mod index;
pub mod lock;
pub mod pack;
pub mod push;
pub mod record;
pub mod verify;
