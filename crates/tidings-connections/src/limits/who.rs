//! The addresses and subjects that limits count.

use std::net::IpAddr;
use std::sync::Arc;

/// A client as limits distinguish clients: by subject or by address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    V4([u8; 4]),
    /// The first 64 bits. A host may choose the other 64 bits freely.
    V6([u8; 8]),
    Subject(Arc<str>),
}

impl Who {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let mut prefix = [0; 8];
                prefix.copy_from_slice(&ip.octets()[..8]);
                Self::V6(prefix)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_whatever_addresses_it_takes() {
        let who = |text: &str| Who::of(text.parse().unwrap());
        assert_eq!(who("2001:db8:1:2::1"), who("2001:db8:1:2:ffff::9"));
        assert_ne!(who("2001:db8:1:2::1"), who("2001:db8:1:3::1"));
        assert_eq!(who("::ffff:192.0.2.1"), who("192.0.2.1"));
        assert_ne!(who("192.0.2.1"), who("192.0.2.2"));
    }
}
