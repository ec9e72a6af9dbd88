//! The state that all connections of an egress proxy share.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::HeaderValue;
use rustix::process::Pid;

use super::blocked::{BlockReason, BlockedRequest, BlockedRequests, PeerProcess};
use super::certificate_authority::CertificateAuthority;
use super::peer_process::{Socket, find_peer};
use super::replay_cache::ReplayCache;
use super::request::MemoryBudget;
use crate::net::{Mirror, PublicUrl};
use crate::secret::Redactor;

/// The pause before a socket that failed is used again.
pub(super) const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(50);
/// Maximum length of a method that is reported.
const MAX_METHOD_CHARS: usize = 20;

/// Shared by all connections.
pub(super) struct ProxyState {
    pub authority: CertificateAuthority,
    pub cache: Arc<ReplayCache>,
    pub memory: MemoryBudget,
    pub mirrors: Vec<Mirror>,
    pub redactor: Redactor,
    /// The `Date` of every response.
    pub date: HeaderValue,
    pub blocked: BlockedRequests,
    /// Bytes of response bodies that clients received.
    pub bytes_served: AtomicU64,
}

impl ProxyState {
    /// The URL as it is recorded: a client may have a mirror's URL from one of its responses.
    pub fn published(&self, url: &PublicUrl) -> PublicUrl {
        Mirror::publish(&self.mirrors, url)
    }

    /// The process that has this socket. It is not looked up once the list of blocked requests is
    /// full.
    pub async fn peer(&self, inside: Pid, socket: Socket, address: SocketAddr) -> Option<PeerProcess> {
        if self.blocked.is_full() {
            return None;
        }
        tokio::task::spawn_blocking(move || find_peer(inside, socket, address)).await.ok().flatten()
    }

    /// Adds a request to the blocked ones, without secrets.
    pub fn block(
        &self,
        peer: Option<PeerProcess>,
        method: &str,
        url: String,
        reason: BlockReason,
    ) -> BlockedRequest {
        let redact = |text: &str| self.redactor.redact(text);
        let request = BlockedRequest {
            peer: peer.map(|peer| PeerProcess { command: redact(&peer.command), ..peer }),
            method: method.chars().take(MAX_METHOD_CHARS).collect(),
            url: redact(&url),
            reason,
        };
        self.blocked.add(request.clone());
        request
    }

    pub fn add_served(&self, bytes: u64) {
        self.bytes_served.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A listener of the standard library as one of tokio.
pub(super) fn async_listener(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}
