//! Which process inside made a connection: the kernel knows, and tells it in /proc.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use rustix::process::Pid;

use super::blocked::PeerProcess;

/// So many processes are looked at.
const MAX_PROCESSES: usize = 10_000;
/// Characters of a command line that are shown.
const MAX_COMMAND_CHARS: usize = 300;

/// What a client speaks with.
#[derive(Clone, Copy)]
pub(super) enum Socket {
    /// A connection to this address, as the client has it.
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

/// The process that `client` belongs to, an address inside the network namespace of `inside`. None
/// if it is gone, or the kernel does not tell.
pub(super) fn who(inside: Pid, socket: Socket, client: SocketAddr) -> Option<PeerProcess> {
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

/// The socket's number, from the kernel's table of connections.
fn inode(inside: Pid, socket: Socket, client: SocketAddr) -> Option<u64> {
    socket.tables().iter().find_map(|table| {
        let table = fs::read_to_string(format!("/proc/{}/net/{table}", inside.as_raw_nonzero())).ok()?;
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            let (local, remote) = (endpoint(fields.nth(1)?)?, endpoint(fields.next()?)?);
            // After remote: state, queues, timer, retransmits, uid, timeout, inode.
            let inode: u64 = fields.nth(6)?.parse().ok()?;
            let is_clients = match socket {
                // One port may serve connections to several addresses.
                Socket::Tcp { to } => (local, remote) == (plain(client), plain(to)),
                // Its address may be left open.
                Socket::Udp => local.port() == client.port(),
            };
            (is_clients && inode != 0).then_some(inode)
        })
    })
}

/// An address and port, as the kernel's tables have them: the address in words of 32 bits, each as
/// this machine would read it as a number.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address: IpAddr = match address.len() {
        8 => word(0)?.into(),
        32 => <[u8; 16]>::try_from([word(0)?, word(8)?, word(16)?, word(24)?].concat()).ok()?.into(),
        _ => return None,
    };
    Some(plain(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?)))
}

/// An IPv4 address as such: a socket for both families has it as one of IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn command(directory: &Path) -> String {
    let line = fs::read(directory.join("cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    line.trim().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MAX_COMMAND_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_this_process() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let me = Pid::from_raw(std::process::id().cast_signed()).unwrap();
        let socket = Socket::Tcp { to: listener.local_addr().unwrap() };
        let peer = who(me, socket, client.local_addr().unwrap()).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert!(!peer.command.is_empty());
        let address = client.local_addr().unwrap();
        drop(client);
        assert!(who(me, socket, address).is_none());
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_are_read_as_the_kernel_writes_them() {
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
