//! Carafe turns a Frappe `apps.json` into an OCI image with a digest that anyone can check.
//!
//! Start with [`pipeline`]: it has the stages in order. [`cli`] parses arguments, calls one function of
//! the pipeline, and shows its result in an [`output`] format.
//!
//! The modules in import order: each may use those before it, none after it.
//!
//! | module | contents |
//! |---|---|
//! | [`check`] | one check of `carafe doctor`, and its result |
//! | [`output`] | progress and results: text, Markdown, JSON |
//! | [`registry`] | the client for registries |
//! | [`images`] | images by name: in a registry, a layout, an archive |
//! | [`context`] | what every stage needs |
//! | [`materials`] | the inputs of a build as a list |
//! | [`bundle`] | one artifact with everything that a build needs |
//! | [`build`] | spec → lock → image |
//! | [`transfer`] | push, copy, index |
//! | [`diff`] | two images → what differs |
//! | [`verify`] | an image → does its lock reproduce it? |
//! | [`doctor`] | checks of this machine |
//! | [`pipeline`] | one function for each command |
//! | [`cli`] | arguments and exit codes |

pub mod build;
pub mod bundle;
pub mod check;
pub mod cli;
pub mod context;
pub mod diff;
pub mod doctor;
pub mod images;
pub mod materials;
pub mod output;
pub mod pipeline;
pub mod registry;
pub mod transfer;
pub mod verify;
