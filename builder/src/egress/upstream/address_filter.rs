//! Private addresses, which a build must not reach (protection against SSRF).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// A host that has private addresses only.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct PrivateAddress(pub String);

/// Whether the host of a URL is private, without resolving names.
pub(super) fn is_private_host(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => is_private(IpAddr::V4(*address)),
        Host::Ipv6(address) => is_private(IpAddr::V6(*address)),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

/// Whether an address is not one of the public Internet. Addresses for documentation count as
/// public: no network has them, and test environments use them in place of the Internet.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0xc0 == 64)
        || (a == 198 && b & 0xfe == 18)
        || (a, b, c) == (192, 0, 0)
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = embedded(address) {
        return is_private_v4(inner);
    }
    let first = address.segments()[0];
    // Only 2000::/3 is allocated for the Internet. Teredo is within it.
    first & 0xe000 != 0x2000 || address.segments()[..2] == [0x2001, 0]
}

/// The IPv4 address that is embedded in an IPv6 address: mapped, translated (NAT64), 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Resolves names to public addresses only. The connection goes to an address that was checked, so a
/// second DNS response cannot circumvent the check.
pub(super) struct PublicResolver {
    /// The hosts of the user's proxies, which may have private addresses.
    pub proxies: Vec<String>,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let is_proxy = self.proxies.contains(&name);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (private, public): (Vec<_>, Vec<_>) =
                addresses.into_iter().partition(|address| !is_proxy && is_private(address.ip()));
            match private.first() {
                Some(address) if public.is_empty() => {
                    Err(PrivateAddress(format!("{name} ({})", address.ip())).into())
                }
                _ => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_private_addresses_in_every_spelling() {
        let private = [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fd00::1]",
            "[ff02::1]",
            "[64:ff9b:1::1]",
            "[::127.0.0.1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
        ];
        for host in private {
            let url = url::Url::parse(&format!("http://{host}/")).unwrap();
            assert!(is_private_host(&url.host().unwrap()), "{host}");
        }
        let public = [
            "1.1.1.1",
            "172.32.0.1",
            "203.0.113.80",
            "[2606:4700::1111]",
            "[::ffff:1.1.1.1]",
            "pypi.org",
            "[64:ff9b::101:101]",
        ];
        for host in public {
            let url = url::Url::parse(&format!("http://{host}/")).unwrap();
            assert!(!is_private_host(&url.host().unwrap()), "{host}");
        }
    }
}
