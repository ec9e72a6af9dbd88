//! An egress proxy, its clients, and scripted upstream servers, all on this machine.

mod scripted_server;
mod test_proxy;

pub use scripted_server::{Action, ReceivedRequest, ScriptedServer, respond};
pub use test_proxy::{CurlResponse, TestProxy, test_retry_policy, upstream};
