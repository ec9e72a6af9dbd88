//! Building a bench in the sandbox.
//!
//! bench runs unmodified in the [sandbox](crate::sandbox). It clones each app from its public URL,
//! which git in the sandbox replaces by a local repository that has only the pinned commit. So the
//! lock's commit is installed, and no token is needed where third-party code runs.
//!
//! A [`Recipe`] is a way to build a bench; [`Bench5`] is the only one, and there will be one for
//! bench's announced successor.
//!
//! The files, each of which imports only files listed before it: `paths`, `error`, `recipe` (the
//! trait), `redirect` (the apps' URLs), `environment` (variables), `tools` (versions), `compile`
//! (Python bytecode), `diagnose` (causes of failures), `bench5`.

mod bench5;
mod compile;
mod diagnose;
mod environment;
mod error;
mod paths;
mod recipe;
mod redirect;
mod tools;

pub use bench5::Bench5;
pub use error::BenchError;
pub use paths::{BENCH_DIR, HOME_DIR};
pub use recipe::{BenchApp, BuildInputs, BuiltBench, Recipe, SandboxAdditions};
pub use redirect::published_ref;
