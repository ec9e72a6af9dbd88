//! The network of a sandbox: a loopback interface, and nothing behind it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// The interface's number in every network namespace.
const INDEX: i32 = 1;

/// Brings the loopback interface of a new network namespace up.
pub(super) fn bring_up() -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: all-zero bytes are a valid `ifreq`: it is made of integers and arrays of them.
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

/// Makes every address one of the sandbox's own: whoever connects to one reaches who listens here,
/// or is refused at once. A kernel without IPv6 has no such address to connect to.
pub(super) fn own_every_address() -> io::Result<()> {
    let _ = add_route(Ipv6Addr::LOCALHOST.into());
    add_route(Ipv4Addr::LOCALHOST.into())
}

/// Has all addresses of its family delivered here. Connections then come from `source`.
fn add_route(source: IpAddr) -> io::Result<()> {
    // Without a protocol's number: zero is the one for routes.
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&kernel, &route_message(source), SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (length, _) = recv(&kernel, &mut answer[..], RecvFlags::empty())?;
    match answer[..length].get(HEADER..).and_then(<[u8]>::first_chunk).map(|code| i32::from_ne_bytes(*code)) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Bytes of a netlink message's header, before what it says.
const HEADER: usize = 16;

/// `ip route add local default dev lo src SOURCE table local`, as the kernel reads it
/// (rtnetlink(7)): a header, what kind of route, two attributes.
fn route_message(source: IpAddr) -> Vec<u8> {
    let (family, source) = match source {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    // Beside the family: no bits of the destination or the source count, and no type of service.
    let mut said = vec![family as u8, 0, 0, 0];
    said.extend([libc::RT_TABLE_LOCAL, libc::RTPROT_STATIC, libc::RT_SCOPE_HOST, libc::RTN_LOCAL]);
    said.extend(0_u32.to_ne_bytes());
    for (kind, value) in [(libc::RTA_OIF, INDEX.to_ne_bytes().to_vec()), (libc::RTA_PREFSRC, source)] {
        said.extend((4 + value.len() as u16).to_ne_bytes());
        said.extend(kind.to_ne_bytes());
        said.extend(value);
    }
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut message = ((HEADER + said.len()) as u32).to_ne_bytes().to_vec();
    message.extend(libc::RTM_NEWROUTE.to_ne_bytes());
    message.extend((flags as u16).to_ne_bytes());
    // A number for the answer, and a sender: one message needs neither.
    message.extend([0; 8]);
    message.extend(said);
    message
}
