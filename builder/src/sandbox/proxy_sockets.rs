//! The one way out of a sandbox: sockets on its own loopback, with carafe behind them.
//!
//! They are made by the launcher, inside, where it may bind any port, and handed out to carafe.
//! So whoever answers there needs no privilege and no interface on this machine.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::Pid;

/// Where steps look for their proxy, on their own loopback.
pub const PROXY_PORT: u16 = 3128;

/// Where steps ask for names, on their own loopback: what a resolver expects.
pub const NAMES_PORT: u16 = 53;

/// Where programs connect that have an address and no proxy: SSH, HTTP, HTTPS, git.
pub const DIRECT_PORTS: [u16; 4] = [22, 80, 443, 9418];

/// Who decides what a step with [`Network::EgressProxy`](super::Network::EgressProxy) reaches.
pub trait ProxyHandle: Send + Sync {
    /// The certificate (PEM) that steps trust, and the only one: what is behind the door's TLS.
    fn ca_certificate(&self) -> &str;

    /// Answers at a step's proxy_sockets, in threads of its own, until the guard is dropped: when no
    /// process of the step is left. Returns at once. Several steps may be attended at once.
    fn attend(&self, proxy_sockets: ProxySockets) -> Box<dyn Send>;
}

/// A step's side of the door.
#[derive(Debug)]
pub struct ProxySockets {
    /// Listens on 127.0.0.1:[`PROXY_PORT`]. Blocking.
    pub proxy: TcpListener,
    /// Bound to 127.0.0.1:[`NAMES_PORT`]. Blocking.
    pub names: UdpSocket,
    /// Listen on [`DIRECT_PORTS`] at every address there is: who connects there goes past the
    /// proxy, and the connection's local address is where it wanted to go. Blocking.
    pub direct: Vec<TcpListener>,
    /// A process of this machine in the step's network namespace, as long as the step runs: its
    /// `/proc/<pid>/net` tells which process inside a connection belongs to.
    pub process: Pid,
}

/// A proxy_sockets's sockets, on their way out of the sandbox.
pub(super) struct Sockets {
    proxy: TcpListener,
    names: UdpSocket,
    direct: Vec<TcpListener>,
}

/// So many they are.
const SOCKETS: usize = 2 + DIRECT_PORTS.len();

/// What is sent along with them: a line without a report.
const COVER: &[u8] = b"\n";

impl Sockets {
    /// Makes them in the network namespace of this process, whose loopback is up and has every
    /// address.
    pub fn bind() -> io::Result<Self> {
        let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, PROXY_PORT))?;
        let names = UdpSocket::bind((Ipv4Addr::LOCALHOST, NAMES_PORT))?;
        let direct = DIRECT_PORTS.into_iter().map(|port| {
            // Takes IPv4 too. The other is for kernels without IPv6.
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
            listener.or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
        });
        Ok(Self { proxy, names, direct: direct.collect::<io::Result<_>>()? })
    }

    /// Sends them to who holds the other end.
    pub fn hand_out(&self, to: &UnixStream) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let mut sockets = vec![self.proxy.as_fd(), self.names.as_fd()];
        sockets.extend(self.direct.iter().map(AsFd::as_fd));
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        sendmsg(to, &[IoSlice::new(COVER)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for what the other end says first. If that is no socket, it is put into `said`.
    pub fn receive(from: &UnixStream, said: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let mut buffer = [0; 4 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            match recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        said.extend_from_slice(&buffer[..received.bytes]);
        let mut sockets: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                sockets.extend(received);
            }
        }
        let Ok(sockets) = <[OwnedFd; SOCKETS]>::try_from(sockets) else { return Ok(None) };
        let [proxy, names, direct @ ..] = sockets;
        let direct = direct.into_iter().map(TcpListener::from).collect();
        Ok(Some(Self { proxy: proxy.into(), names: names.into(), direct }))
    }

    /// The proxy_sockets of the step that `process` is in the network namespace of.
    pub fn into_doorway(self, process: Pid) -> ProxySockets {
        ProxySockets { proxy: self.proxy, names: self.names, direct: self.direct, process }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn sockets_go_over_and_what_is_said_instead_is_kept() {
        let (mut inside, mut outside) = UnixStream::pair().unwrap();
        let any = (Ipv4Addr::LOCALHOST, 0);
        let (proxy, names) = (TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
        let direct: Vec<_> = DIRECT_PORTS.iter().map(|_| TcpListener::bind(any).unwrap()).collect();
        let addresses = |proxy: &TcpListener, direct: &[TcpListener]| {
            let address = |listener: &TcpListener| listener.local_addr().unwrap();
            [proxy].into_iter().chain(direct).map(address).collect::<Vec<_>>()
        };
        let sent = addresses(&proxy, &direct);
        Sockets { proxy, names, direct }.hand_out(&inside).unwrap();
        inside.write_all(b"later").unwrap();
        let mut said = Vec::new();
        let received = Sockets::receive(&outside, &mut said).unwrap().unwrap();
        assert_eq!(addresses(&received.proxy, &received.direct), sent);
        assert_eq!(said, COVER);
        let mut later = [0; 5];
        outside.read_exact(&mut later).unwrap();
        assert_eq!(&later, b"later");

        inside.write_all(b"failed\n").unwrap();
        assert!(Sockets::receive(&outside, &mut said).unwrap().is_none());
        drop(inside);
        assert!(Sockets::receive(&outside, &mut said).unwrap().is_none());
        assert_eq!(said, b"\nfailed\n");
    }
}
