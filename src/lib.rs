//! Carafe's command line, pipeline and registry client, as a library so that tests can reach them.

pub mod registry;
