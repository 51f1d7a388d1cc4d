//! Who is behind a proxy.
//!
//! A proxy says so in `X-Forwarded-For` or `Forwarded` (RFC 7239), and so can
//! anybody: only what trusted networks say is believed, read from the end, up to
//! the first address that is not trusted itself.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;
use rfc7239::{Forwarded, NodeName};

/// Whether an address is in one of these networks; IPv4 within IPv6 is IPv4.
pub(crate) fn trusts(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// The client behind `peer`: what trusted proxies say, or `peer` itself.
pub(crate) fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> SocketAddr {
    if trusted.is_empty() || !trusts(trusted, peer.ip()) {
        return peer;
    }
    const LEGACY: &str = "x-forwarded-for";
    const STANDARD: &str = "forwarded";
    let legacy = walk(headers, LEGACY, trusted, legacy);
    let standard = walk(headers, STANDARD, trusted, standard);
    // One that cannot be read is there all the same.
    match (legacy, standard) {
        (Some(ip), None) if !headers.contains_key(STANDARD) => SocketAddr::new(ip, 0),
        (None, Some(ip)) if !headers.contains_key(LEGACY) => SocketAddr::new(ip, 0),
        (Some(one), Some(other)) if one == other => SocketAddr::new(one, 0),
        // Proxies set one of the two and hand the other on as it came: from
        // whoever would like to be somebody else.
        _ => peer,
    }
}

/// The last address that is not a trusted proxy's; none if something on the way
/// to it is no address.
fn walk(
    headers: &HeaderMap,
    name: &str,
    trusted: &[IpNet],
    read: fn(&str) -> Vec<Option<IpAddr>>,
) -> Option<IpAddr> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    for line in lines.into_iter().rev() {
        for hop in read(line.to_str().ok()?).into_iter().rev() {
            let ip = hop?;
            if !trusts(trusted, ip) {
                return Some(ip);
            }
        }
    }
    None
}

/// `X-Forwarded-For`: addresses, some proxies add a port.
fn legacy(line: &str) -> Vec<Option<IpAddr>> {
    let address = |text: &str| {
        let text = text.trim();
        let plain = text.trim_start_matches('[').trim_end_matches(']');
        let ip = plain.parse().ok();
        ip.or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip()))
    };
    line.split(',').map(address).collect()
}

fn standard(line: &str) -> Vec<Option<IpAddr>> {
    let address = |hop: Forwarded<'_>| match hop.forwarded_for?.name {
        NodeName::Ip(ip) => Some(ip),
        _ => None,
    };
    rfc7239::parse(line)
        .map(|hop| hop.ok().and_then(address))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn believes_only_whom_it_should() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (peer, headers, expected) in [
            // The one that the proxy set hides who it is: the other is the client's.
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=_hidden")][..],
                "10.0.0.1:9",
            ),
            // From nobody in particular: whatever it says.
            (
                "192.0.2.1:9",
                &[("x-forwarded-for", "1.1.1.1")][..],
                "192.0.2.1:9",
            ),
            ("10.0.0.1:9", &[("x-forwarded-for", "1.1.1.1")], "1.1.1.1:0"),
            (
                "[::ffff:10.0.0.1]:9",
                &[("x-forwarded-for", "1.1.1.1")],
                "1.1.1.1:0",
            ),
            // A client that says it is somebody else is put in front.
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "6.6.6.6, 1.1.1.1")],
                "1.1.1.1:0",
            ),
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.0.0.2")],
                "1.1.1.1:0",
            ),
            (
                "10.0.0.1:9",
                &[
                    ("x-forwarded-for", "6.6.6.6"),
                    ("x-forwarded-for", "1.1.1.1"),
                ],
                "1.1.1.1:0",
            ),
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "1.1.1.1:4711")],
                "1.1.1.1:0",
            ),
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "[2001:db8::1]:47")],
                "[2001:db8::1]:0",
            ),
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "2001:db8::1")],
                "[2001:db8::1]:0",
            ),
            (
                "[fd00::1]:9",
                &[("forwarded", "for=6.6.6.6, for=1.1.1.1;proto=https")],
                "1.1.1.1:0",
            ),
            (
                "10.0.0.1:9",
                &[("forwarded", "for=\"[2001:db8::1]:47\"")],
                "[2001:db8::1]:0",
            ),
            ("10.0.0.1:9", &[("forwarded", "for=_hidden")], "10.0.0.1:9"),
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=6.6.6.6")],
                "10.0.0.1:9",
            ),
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "nonsense")],
                "10.0.0.1:9",
            ),
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "1.1.1.1, nonsense")],
                "10.0.0.1:9",
            ),
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "10.0.0.2")],
                "10.0.0.1:9",
            ),
            ("10.0.0.1:9", &[], "10.0.0.1:9"),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            let client = client(&map, peer.parse().unwrap(), &trusted);
            assert_eq!(client, expected.parse().unwrap(), "{peer} {headers:?}");
        }
    }
}
