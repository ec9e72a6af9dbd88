//! The one way out of a sandbox: two sockets on its own loopback, with carafe behind them.
//!
//! They are made by the launcher, inside, where it may bind any port, and handed out to carafe.
//! So whoever answers there needs no privilege and no interface on this machine.

use std::net::{TcpListener, UdpSocket};

use rustix::process::Pid;

/// Where steps look for their proxy, on their own loopback.
pub const PROXY_PORT: u16 = 3128;

/// Where steps ask for names, on their own loopback: what a resolver expects.
pub const NAMES_PORT: u16 = 53;

/// Who decides what a step with [`Network::Door`](super::Network::Door) reaches.
pub trait Doorkeeper: Send + Sync {
    /// The certificate (PEM) that steps trust, and the only one: what is behind the door's TLS.
    fn ca_certificate(&self) -> &str;

    /// Answers at a step's doorway, in threads of its own, until the guard is dropped: when no
    /// process of the step is left. Returns at once. Several steps may be attended at once.
    fn attend(&self, doorway: Doorway) -> Box<dyn Send>;
}

/// A step's side of the door.
#[derive(Debug)]
pub struct Doorway {
    /// Listens on 127.0.0.1:[`PROXY_PORT`]. Blocking.
    pub proxy: TcpListener,
    /// Bound to 127.0.0.1:[`NAMES_PORT`]. Blocking.
    pub names: UdpSocket,
    /// A process of this machine in the step's network namespace, as long as the step runs: its
    /// `/proc/<pid>/net` tells which process inside a connection belongs to.
    pub process: Pid,
}
