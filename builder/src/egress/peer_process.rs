//! Finds the process in the sandbox that has a socket, through the kernel's tables in /proc.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use rustix::process::Pid;

use carafe_layers::text::escape;

use super::blocked::PeerProcess;

/// Maximum number of processes that are examined.
const MAX_PROCESSES: usize = 10_000;

/// The kind of a client's socket.
#[derive(Clone, Copy)]
pub(super) enum Socket {
    /// A connection to this address, as the client sees it.
    Tcp {
        to: SocketAddr,
    },
    Udp,
}

impl Socket {
    fn tables(self) -> [&'static str; 2] {
        match self {
            Self::Tcp { .. } => ["tcp", "tcp6"],
            Self::Udp => ["udp", "udp6"],
        }
    }
}

/// The process that has the socket with the address `client` in the network namespace of the process
/// `inside`. `None` if it has exited, or /proc does not show it.
pub(super) fn find_peer(inside: Pid, socket: Socket, client: SocketAddr) -> Option<PeerProcess> {
    let network = fs::read_link(format!("/proc/{}/ns/net", inside.as_raw_nonzero())).ok()?;
    let inode = inode(inside, socket, client)?;
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten().take(MAX_PROCESSES);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let directory = Path::new("/proc").join(pid.to_string());
        if fs::read_link(directory.join("ns/net")).ok()? != network {
            return None;
        }
        let mut files = fs::read_dir(directory.join("fd")).ok()?.flatten();
        let holds =
            files.any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == &*link));
        holds.then(|| PeerProcess { pid, command: command(&directory) })
    })
}

/// The socket's inode, from the kernel's table of sockets.
fn inode(inside: Pid, socket: Socket, client: SocketAddr) -> Option<u64> {
    socket.tables().iter().find_map(|table| {
        let table = fs::read_to_string(format!("/proc/{}/net/{table}", inside.as_raw_nonzero())).ok()?;
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            let (local, remote) = (endpoint(fields.nth(1)?)?, endpoint(fields.next()?)?);
            // After the remote address: state, queues, timer, retransmits, uid, timeout, inode.
            let inode: u64 = fields.nth(6)?.parse().ok()?;
            let is_client = match socket {
                // One port may have connections to several addresses.
                Socket::Tcp { to } => (local, remote) == (canonical(client), canonical(to)),
                // A UDP socket may be bound to the wildcard address.
                Socket::Udp => local.port() == client.port(),
            };
            (is_client && inode != 0).then_some(inode)
        })
    })
}

/// Parses an address and port of the kernel's tables: the address as words of 32 bits, each in the
/// machine's byte order.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address: IpAddr = match address.len() {
        8 => word(0)?.into(),
        32 => <[u8; 16]>::try_from([word(0)?, word(8)?, word(16)?, word(24)?].concat()).ok()?.into(),
        _ => return None,
    };
    Some(canonical(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?)))
}

/// An IPv4-mapped IPv6 address, as dual-stack sockets have it, becomes an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn command(directory: &Path) -> String {
    let line = fs::read(directory.join("cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    escape(line.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_this_process_by_its_connection() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let me = Pid::from_raw(std::process::id().cast_signed()).unwrap();
        let socket = Socket::Tcp { to: listener.local_addr().unwrap() };
        let peer = find_peer(me, socket, client.local_addr().unwrap()).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert!(!peer.command.is_empty());
        let address = client.local_addr().unwrap();
        drop(client);
        assert!(find_peer(me, socket, address).is_none());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn parses_addresses_in_the_format_of_the_kernel() {
        for (text, address) in [
            ("0100007F:01BB", "127.0.0.1:443"),
            ("0000000000000000FFFF00000100007F:0050", "127.0.0.1:80"),
            ("B80D0120000000000000000001000000:C1FC", "[2001:db8::1]:49660"),
        ] {
            assert_eq!(endpoint(text), Some(address.parse().unwrap()));
        }
        for bad in ["", "0100007F", "0100007:01BB", "é00007F:01BB", "0100007F:1BB0F"] {
            assert_eq!(endpoint(bad), None, "{bad}");
        }
    }
}
