//! Which process inside made a connection: the kernel knows, and tells it in /proc.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use rustix::process::Pid;

use super::refusal::Asker;

/// So many processes are looked at.
const MOST_PROCESSES: usize = 10_000;
/// Characters of a command line that are shown.
const LONGEST_COMMAND: usize = 300;

/// What a client speaks with.
#[derive(Clone, Copy)]
pub(super) enum Socket {
    Tcp,
    Udp,
}

impl Socket {
    fn tables(self) -> [&'static str; 2] {
        match self {
            Self::Tcp => ["tcp", "tcp6"],
            Self::Udp => ["udp", "udp6"],
        }
    }
}

/// The process that `client` belongs to, an address inside the network namespace of `inside`. None
/// if it is gone, or the kernel does not tell.
pub(super) fn who(inside: Pid, socket: Socket, client: SocketAddr) -> Option<Asker> {
    let network = fs::read_link(format!("/proc/{}/ns/net", inside.as_raw_nonzero())).ok()?;
    let inode = inode(inside, socket, client)?;
    let link = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten().take(MOST_PROCESSES);
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let folder = Path::new("/proc").join(pid.to_string());
        if fs::read_link(folder.join("ns/net")).ok()? != network {
            return None;
        }
        let mut files = fs::read_dir(folder.join("fd")).ok()?.flatten();
        let holds =
            files.any(|file| fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == &*link));
        holds.then(|| Asker { pid, command: command(&folder) })
    })
}

/// The socket's number, from the kernel's table of connections.
fn inode(inside: Pid, socket: Socket, client: SocketAddr) -> Option<u64> {
    socket.tables().iter().find_map(|table| {
        let table = fs::read_to_string(format!("/proc/{}/net/{table}", inside.as_raw_nonzero())).ok()?;
        table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace();
            let local = fields.nth(1)?;
            let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
            // After local: remote, state, queues, timer, retransmits, uid, timeout, inode.
            let inode: u64 = fields.nth(7)?.parse().ok()?;
            (port == client.port() && inode != 0).then_some(inode)
        })
    })
}

fn command(folder: &Path) -> String {
    let line = fs::read(folder.join("cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    line.trim().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(LONGEST_COMMAND).collect()
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
        let asker = who(me, Socket::Tcp, client.local_addr().unwrap()).unwrap();
        assert_eq!(asker.pid, std::process::id());
        assert!(!asker.command.is_empty());
        let address = client.local_addr().unwrap();
        drop(client);
        assert!(who(me, Socket::Tcp, address).is_none());
    }
}
