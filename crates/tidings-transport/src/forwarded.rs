//! The address of a client behind a proxy.
//!
//! A proxy tells the address in `X-Forwarded-For` or `Forwarded` (RFC 7239), but any client can
//! send these headers too. Only addresses that trusted networks added are believed. The headers are
//! read from the end, up to the first address that is not trusted.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;
use rfc7239::{Forwarded, NodeName};

/// Returns whether an address is in one of these networks. IPv4 within IPv6 counts as IPv4.
pub(crate) fn trusts(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

/// Returns the address of the client: the one that trusted proxies tell, or else `peer`.
pub(crate) fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> SocketAddr {
    if trusted.is_empty() || !trusts(trusted, peer.ip()) {
        return peer;
    }
    const LEGACY: &str = "x-forwarded-for";
    const STANDARD: &str = "forwarded";
    let legacy = walk(headers, LEGACY, trusted, legacy);
    let standard = walk(headers, STANDARD, trusted, standard);
    // A header that cannot be parsed still counts as present.
    match (legacy, standard) {
        (Some(ip), None) if !headers.contains_key(STANDARD) => SocketAddr::new(ip, 0),
        (None, Some(ip)) if !headers.contains_key(LEGACY) => SocketAddr::new(ip, 0),
        (Some(one), Some(other)) if one == other => SocketAddr::new(one, 0),
        // A proxy sets one of the two headers and passes the other on. That one may come from a
        // client that pretends to have another address.
        _ => peer,
    }
}

/// Returns the last address that is not a trusted proxy's. Returns `None` if an entry on the way to
/// it is not an address.
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

/// Reads `X-Forwarded-For`: a list of addresses, to which some proxies add a port.
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
            // The header that the proxy set hides the address. The other header comes from the
            // client.
            (
                "10.0.0.1:9",
                &[("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=_hidden")][..],
                "10.0.0.1:9",
            ),
            // The peer is not a trusted proxy, so its headers are ignored.
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
            // A client that pretends to have another address puts it in front.
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
