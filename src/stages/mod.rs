//! One file for each stage; [`crate::pipeline`] calls them in order.

pub(crate) mod assemble;
pub(crate) mod bench;
pub(crate) mod fetch;
pub(crate) mod lock;
pub(crate) mod pack;
pub(crate) mod push;
