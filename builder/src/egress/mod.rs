//! The egress proxy: the only network of a build's sandbox. It records and replays.
//!
//! Steps use it as their HTTP proxy, and for https with certificates of a CA that exists for one
//! build. A request ([`RecordedRequest`]) is served from the [`Recording`] of an earlier build, or
//! fetched, stored ([`BodyStore`]) and recorded. A client receives the first byte only after the
//! complete body was received and hashed: it never gets a wrong byte, and the store never has one.
//!
//! `docs/egress-proxy.md` specifies what is recorded, and the limits. A request passes `server`,
//! `request`, `replay_cache`, `upstream` (if it must be fetched) and `response`.
//!
//! Each module imports only from those before it: `blocked`, `body_store`, `dns`, `recording`,
//! `peer_process`, `error`, `certificate_authority`, `stub_response`, `update`, `upstream`, `request`,
//! `replay_cache`, `response`, `state`, `bypass`, `server`, `proxy`.

mod blocked;
mod body_store;
mod bypass;
mod certificate_authority;
mod dns;
mod error;
mod peer_process;
mod proxy;
mod recording;
mod replay_cache;
mod request;
mod response;
mod server;
mod state;
mod stub_response;
mod update;
mod upstream;

pub use blocked::{BlockReason, BlockedRequest, FailedRequest, PeerProcess};
pub use body_store::{BodyStore, BodyStoreError, MAX_BODY_BYTES};
pub use error::EgressError;
pub use proxy::{EgressConfig, EgressProxy, EgressReport};
pub use recording::{
    Exchange, MAX_EXCHANGES, MAX_RECORDING_BYTES, Method, RecordedRequest, RecordedResponse, Recording,
    RecordingError,
};
pub use update::{Mode, RecordingChange, Update, UpdateSelector};
pub use upstream::Upstream;
