//! The command line: exit codes, messages, and `--help`.

mod build;
#[path = "../common/demo.rs"]
mod demo;
mod doctor;
mod edited;
mod images;
mod input;
#[path = "../common/json_output.rs"]
mod json_output;
mod json_schema;
mod lock;
mod messages;
#[path = "../common/registry.rs"]
mod registry;
mod repositories;
mod together;
mod usage;
mod variants;
