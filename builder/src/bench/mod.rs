//! Driving bench: one implementation of a small trait, for its successor is announced.

mod app_name;
mod python;
mod required_apps;

pub use app_name::{AppNameError, app_name};
pub use required_apps::{AppHooks, RequiredApp, RequiredAppsError, check_required_apps};
