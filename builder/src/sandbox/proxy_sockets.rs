//! The sockets of the egress proxy on a sandbox's loopback interface.
//!
//! The launcher creates them in the sandbox, where it may bind any port, and sends them to Carafe. So
//! the proxy needs neither a privilege nor an interface on this machine.

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

/// The port of the HTTP proxy on a step's loopback.
pub const PROXY_PORT: u16 = 3128;

/// The port of the DNS server on a step's loopback: the one that resolvers use.
pub const DNS_PORT: u16 = 53;

/// The ports on which connections that bypass the proxy are detected: SSH, HTTP, HTTPS, git.
pub const BYPASS_PORTS: [u16; 4] = [22, 80, 443, 9418];

/// An egress proxy, which decides what a step with
/// [`Network::EgressProxy`](super::Network::EgressProxy) can reach.
pub trait ProxyHandle: Send + Sync {
    /// The CA certificate (PEM) of the proxy: the only one that steps trust.
    fn ca_certificate(&self) -> &str;

    /// Serves a step's sockets, in threads of its own, until the guard is dropped: when no process of
    /// the step is left. Returns at once. Several steps may be served at the same time.
    fn serve(&self, sockets: ProxySockets) -> Box<dyn Send>;
}

/// The sockets of the egress proxy in one step's network namespace.
#[derive(Debug)]
pub struct ProxySockets {
    /// Listens on 127.0.0.1:[`PROXY_PORT`]. Blocking.
    pub proxy: TcpListener,
    /// Bound to 127.0.0.1:[`DNS_PORT`]. Blocking.
    pub dns: UdpSocket,
    /// Listen on [`BYPASS_PORTS`] of every address: a program that connects there bypasses the proxy,
    /// and the connection's local address is its destination. Blocking.
    pub bypass: Vec<TcpListener>,
    /// A process in the step's network namespace, by its id on this machine, for as long as the step
    /// runs: `/proc/<pid>/net` lists the connections of the step's processes.
    pub process: Pid,
}

/// The sockets, as the launcher sends them to Carafe.
pub(super) struct SocketSet {
    proxy: TcpListener,
    dns: UdpSocket,
    bypass: Vec<TcpListener>,
}

/// How many sockets are in a set.
const SOCKET_COUNT: usize = 2 + BYPASS_PORTS.len();

/// The data that the descriptors are sent with, because a message must have data: an empty line, which
/// is not a report.
const EMPTY_LINE: &[u8] = b"\n";

impl SocketSet {
    /// Creates them in the network namespace of this process, whose loopback must be up and have all
    /// addresses.
    pub fn bind() -> io::Result<Self> {
        let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, PROXY_PORT))?;
        let dns = UdpSocket::bind((Ipv4Addr::LOCALHOST, DNS_PORT))?;
        let bypass = BYPASS_PORTS.into_iter().map(|port| {
            // The IPv6 listener accepts IPv4 too. The other one is for kernels without IPv6.
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
            listener.or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
        });
        Ok(Self { proxy, dns, bypass: bypass.collect::<io::Result<_>>()? })
    }

    /// Sends them as ancillary data (unix(7)).
    pub fn send(&self, to: &UnixStream) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKET_COUNT))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let mut sockets = vec![self.proxy.as_fd(), self.dns.as_fd()];
        sockets.extend(self.bypass.iter().map(AsFd::as_fd));
        control.push(SendAncillaryMessage::ScmRights(&sockets));
        sendmsg(to, &[IoSlice::new(EMPTY_LINE)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for the first message from the other end. Appends its data to `data`. `None` if it has
    /// no sockets.
    pub fn receive(from: &UnixStream, data: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let mut buffer = [0; 4 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKET_COUNT))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            match recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        data.extend_from_slice(&buffer[..received.bytes]);
        let mut sockets: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                sockets.extend(received);
            }
        }
        let Ok(sockets) = <[OwnedFd; SOCKET_COUNT]>::try_from(sockets) else { return Ok(None) };
        let [proxy, dns, bypass @ ..] = sockets;
        let bypass = bypass.into_iter().map(TcpListener::from).collect();
        Ok(Some(Self { proxy: proxy.into(), dns: dns.into(), bypass }))
    }

    /// The sockets of the step that has `process` in its network namespace.
    pub fn into_proxy_sockets(self, process: Pid) -> ProxySockets {
        ProxySockets { proxy: self.proxy, dns: self.dns, bypass: self.bypass, process }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn receives_sockets_or_keeps_the_data_that_was_sent_instead() {
        let (mut inside, mut outside) = UnixStream::pair().unwrap();
        let any = (Ipv4Addr::LOCALHOST, 0);
        let (proxy, dns) = (TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
        let bypass: Vec<_> = BYPASS_PORTS.iter().map(|_| TcpListener::bind(any).unwrap()).collect();
        let addresses = |proxy: &TcpListener, bypass: &[TcpListener]| {
            let address = |listener: &TcpListener| listener.local_addr().unwrap();
            [proxy].into_iter().chain(bypass).map(address).collect::<Vec<_>>()
        };
        let sent = addresses(&proxy, &bypass);
        SocketSet { proxy, dns, bypass }.send(&inside).unwrap();
        inside.write_all(b"later").unwrap();
        let mut data = Vec::new();
        let received = SocketSet::receive(&outside, &mut data).unwrap().unwrap();
        assert_eq!(addresses(&received.proxy, &received.bypass), sent);
        assert_eq!(data, EMPTY_LINE);
        let mut later = [0; 5];
        outside.read_exact(&mut later).unwrap();
        assert_eq!(&later, b"later");

        inside.write_all(b"failed\n").unwrap();
        assert!(SocketSet::receive(&outside, &mut data).unwrap().is_none());
        drop(inside);
        assert!(SocketSet::receive(&outside, &mut data).unwrap().is_none());
        assert_eq!(data, b"\nfailed\n");
    }
}
