//! Carafe turns a Frappe `apps.json` into an OCI image with a digest that anyone can check.
//!
//! Read [`pipeline`] first: it is the whole way on one screen. The command line ([`cli`]) turns
//! arguments into its inputs, [`report`] shows what it does, [`registry`] speaks to registries.

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

use carafe_builder::parallel;
