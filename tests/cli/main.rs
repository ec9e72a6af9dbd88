//! The command line: exit codes, messages, and `--help`.

mod build;
#[path = "../common/demo.rs"]
mod demo;
mod doctor;
mod edited;
mod images;
mod input;
mod lock;
mod messages;
#[path = "../common/registry.rs"]
mod registry;
mod repositories;
mod together;
mod usage;
mod variants;
