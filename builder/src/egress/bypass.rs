//! DNS queries and direct connections of a step that does not use the egress proxy. They are denied
//! at once and reported.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use rustix::process::Pid;
use tokio::net::TcpStream;

use super::blocked::BlockReason;
use super::dns::DnsQuery;
use super::peer_process::Socket;
use super::state::{PAUSE_AFTER_ERROR, ProxyState, async_listener};

/// Maximum size of a DNS query in one datagram.
const MAX_QUERY_BYTES: usize = 4096;

/// Answers every DNS query at `socket` with NXDOMAIN, and reports it. `inside` is a process of the
/// step.
pub(super) async fn deny_dns(state: Arc<ProxyState>, socket: UdpSocket, inside: Pid) {
    let Ok(socket) = socket.set_nonblocking(true).and_then(|()| tokio::net::UdpSocket::from_std(socket))
    else {
        return;
    };
    let mut buffer = [0; MAX_QUERY_BYTES];
    loop {
        // The error is about an earlier response whose recipient is gone.
        let Ok((length, address)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            continue;
        };
        let Some(query) = DnsQuery::parse(&buffer[..length]) else { continue };
        let peer = state.peer(inside, Socket::Udp, address).await;
        state.block(peer, "DNS", query.name, BlockReason::Bypass);
        let _ = socket.send_to(&query.response, address).await;
    }
}

/// Resets every connection to `listener`, which accepts for every address of the sandbox, and reports
/// it. The process is looked up first: a program may exit as soon as its connection has failed.
pub(super) async fn reset_connections(state: Arc<ProxyState>, listener: TcpListener, inside: Pid) {
    let Ok(listener) = async_listener(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                // Dropping the stream is enough, whatever fails here.
                let _ = report(&state, &stream, client, inside).await;
            }
            Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
        }
    }
}

async fn report(state: &ProxyState, stream: &TcpStream, client: SocketAddr, inside: Pid) -> io::Result<()> {
    stream.set_zero_linger()?;
    let destination = stream.local_addr()?;
    let address = destination.ip().to_canonical();
    // The step's own loopback: no server listens there, and it is not a bypass.
    if address.is_loopback() {
        return Ok(());
    }
    let peer = state.peer(inside, Socket::Tcp { to: destination }, client).await;
    let shown = SocketAddr::new(address, destination.port()).to_string();
    state.block(peer, "TCP", shown, BlockReason::Bypass);
    Ok(())
}
