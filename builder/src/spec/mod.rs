//! What to build: `carafe.toml`, frappe_docker's flags and environment variables, `apps.json`.
//!
//! [`Spec::load`] reads all of them into one value. Later stages do not depend on where a setting comes from;
//! only their errors name its file and line ([`Origin`]).
//!
//! Import order: `error`, `quantity` ← `text` ← `environment` ← `app_url` ← `app` ← `refused_hosts` ← `network` ←
//! `types` ← `file` ← `apps_json` ← `load`.

mod app;
mod app_url;
mod apps_json;
mod environment;
mod error;
mod file;
mod load;
mod network;
mod quantity;
mod refused_hosts;
mod text;
mod types;

pub(crate) use app::check_apps;
pub use app::{AppSource, AppSpec};
pub(crate) use app_url::check_ref_name;
pub(crate) use environment::check_build_variable;
pub use error::{Origin, SpecError};
pub use load::{AppsInput, DEFAULT_FILE, SpecOverrides};
pub use network::Network;
pub use quantity::{ByteSize, format_bytes};
pub use text::MAX_SPEC_BYTES;
pub use types::{DEFAULT_TIMEOUT, ImageSpec, RegistrySpec, Spec};
