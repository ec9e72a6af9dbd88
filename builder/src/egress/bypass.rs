//! Who looks for another way out: by asking for a name, or by connecting to an address.
//!
//! Either is told at once that there is none, and kept in mind with what it was after.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use rustix::process::Pid;
use tokio::net::TcpStream;

use super::Shared;
use super::blocked::Reason;
use super::dns;
use super::peer_process::Socket;
use super::server::{PAUSE_AFTER_ERROR, asynchronous};

/// Bytes of a question for a name, as it fits into one datagram.
const MAX_QUERY_BYTES: usize = 4096;

/// Tells who asks for a name at `socket` that there is none, and keeps in mind who it was.
pub(super) async fn answer_names(shared: Arc<Shared>, socket: UdpSocket, inside: Pid) {
    let Ok(socket) = socket.set_nonblocking(true).and_then(|()| tokio::net::UdpSocket::from_std(socket))
    else {
        return;
    };
    let mut buffer = [0; MAX_QUERY_BYTES];
    loop {
        // An error is about an earlier answer that nobody waited for.
        let Ok((length, address)) = socket.recv_from(&mut buffer).await else {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            continue;
        };
        let Some(question) = dns::UpstreamRequest::parse(&buffer[..length]) else { continue };
        let peer = shared.peer(inside, Socket::Udp, address).await;
        shared.refuse(peer, "DNS", question.name, Reason::NoProxy);
        let _ = socket.send_to(&question.answer, address).await;
    }
}

/// Resets what connects to `listener`, which has every address inside. Who it was is found out
/// first: a program that goes past its proxy may be gone a moment after it has failed.
pub(super) async fn hang_up(shared: Arc<Shared>, listener: TcpListener, inside: Pid) {
    let Ok(listener) = asynchronous(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                // Its end is all that it waits for, whatever fails here.
                let _ = refuse(&shared, &stream, client, inside).await;
            }
            Err(_) => tokio::time::sleep(PAUSE_AFTER_ERROR).await,
        }
    }
}

async fn refuse(shared: &Shared, stream: &TcpStream, client: SocketAddr, inside: Pid) -> io::Result<()> {
    stream.set_zero_linger()?;
    let wanted = stream.local_addr()?;
    let address = wanted.ip().to_canonical();
    // The step's own loopback: nobody listens there, and that is no way out.
    if address.is_loopback() {
        return Ok(());
    }
    let peer = shared.peer(inside, Socket::Tcp { to: wanted }, client).await;
    let shown = SocketAddr::new(address, wanted.port()).to_string();
    shared.refuse(peer, "TCP", shown, Reason::NoProxy);
    Ok(())
}
