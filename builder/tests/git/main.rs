//! The git module against real servers: `git http-backend` on loopback, `file://`, paths.

mod credentials;
mod fetch;
mod hostile;
mod local;
mod network;
mod pack;
mod publish;
mod resolve;
mod support;
