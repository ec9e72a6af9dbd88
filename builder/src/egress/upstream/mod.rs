//! Requests to upstream servers: the endpoint and credential of a URL, private addresses, retries,
//! and the checks that a response must pass before it is stored.
//!
//! Each file imports only from those before it: `settings`, `error`, `address_filter`,
//! `presigned_url`, `client`, `retry`, `partial`, `response_head`, `content_check`, `mismatch`,
//! `pkt_line`, `simple_api`, `recheck`, `fetch`.

mod address_filter;
mod client;
mod content_check;
mod error;
mod fetch;
mod mismatch;
mod partial;
mod pkt_line;
mod presigned_url;
mod recheck;
mod response_head;
mod retry;
mod settings;
mod simple_api;

pub(super) use client::Client;
pub(super) use error::UpstreamError;
pub(super) use fetch::UpstreamRequest;
pub use settings::Upstream;
