//! What an app's own files state: its name, and the apps that it requires.
//!
//! The files are parsed, never executed.
//!
//! Import order: `python_literal` ← `name`, `required_apps`.

mod name;
mod python_literal;
mod required_apps;

pub(crate) use name::is_package_name;
pub use name::{AppNameError, app_name};
pub use required_apps::{AppHooks, RequiredApp, RequiredAppsError, check_required_apps};
