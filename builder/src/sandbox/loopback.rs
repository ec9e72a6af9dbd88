//! The network of a sandbox: only a loopback interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// The index of the loopback interface in every network namespace.
const INDEX: i32 = 1;

/// Brings up the loopback interface of a new network namespace.
pub(super) fn bring_up() -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all-zero bytes are a valid `ifreq`: its fields are integers and arrays of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which outlives the call; the socket is open.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Routes every address to loopback: a connection to any address reaches a listener in the sandbox,
/// or is refused at once. A kernel without IPv6 has no IPv6 address to connect to.
pub(super) fn route_all_addresses() -> io::Result<()> {
    let _ = add_route(Ipv6Addr::LOCALHOST.into());
    add_route(Ipv4Addr::LOCALHOST.into())
}

/// Routes all addresses of the family of `source`, which becomes the source of connections.
fn add_route(source: IpAddr) -> io::Result<()> {
    // No protocol number: zero is NETLINK_ROUTE.
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&kernel, &route_message(source), SendFlags::empty())?;
    let mut response = [0; 1024];
    let (length, _) = recv(&kernel, &mut response[..], RecvFlags::empty())?;
    match response[..length].get(HEADER..).and_then(<[u8]>::first_chunk).map(|code| i32::from_ne_bytes(*code))
    {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The length of a netlink message's header, in bytes.
const HEADER: usize = 16;

/// `ip route add local default dev lo src SOURCE table local` as a message of rtnetlink(7): a header,
/// an `rtmsg`, two attributes.
fn route_message(source: IpAddr) -> Vec<u8> {
    let (family, source) = match source {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    // After the family: destination and source prefix length 0, type of service 0.
    let mut body = vec![family as u8, 0, 0, 0];
    body.extend([libc::RT_TABLE_LOCAL, libc::RTPROT_STATIC, libc::RT_SCOPE_HOST, libc::RTN_LOCAL]);
    body.extend(0_u32.to_ne_bytes());
    for (kind, value) in [(libc::RTA_OIF, INDEX.to_ne_bytes().to_vec()), (libc::RTA_PREFSRC, source)] {
        body.extend((4 + value.len() as u16).to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
    }
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    // Sequence number and sender: one message needs neither.
    message.extend([0; 8]);
    message.extend(body);
    message
}
