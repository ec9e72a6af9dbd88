//! Mirrors and other locations of repositories: `entries` rewrites repository names,
//! `registries_conf` reads the configuration files.

mod entries;
mod registries_conf;

pub use self::entries::Mirrors;
