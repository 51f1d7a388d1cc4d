//! The other side of a socket.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where a connection comes from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Peer {
    /// The address of the other side.
    pub remote_addr: Option<SocketAddr>,
    /// The name of the client's software, as the client sent it. It is cut to 256 bytes.
    pub user_agent: Option<Arc<str>>,
}

impl Peer {
    /// Creates a peer with an address and without a user agent.
    pub fn new(remote_addr: Option<SocketAddr>) -> Self {
        Self {
            remote_addr,
            ..Self::default()
        }
    }

    /// Sets the name of the client's software.
    #[must_use]
    pub fn user_agent(mut self, user_agent: Option<&str>) -> Self {
        self.user_agent = user_agent.map(|text| {
            let end = (0..=text.len().min(256))
                .rev()
                .find(|at| text.is_char_boundary(*at));
            text[..end.unwrap_or(0)].into()
        });
        self
    }
}

/// The address of the other side, without the flow and scope of IPv6. It has 20 bytes instead of
/// the 32 of [`SocketAddr`].
#[derive(Clone, Copy)]
pub(crate) struct RemoteAddr {
    ip: IpAddr,
    port: u16,
}

impl From<SocketAddr> for RemoteAddr {
    fn from(addr: SocketAddr) -> Self {
        Self {
            ip: addr.ip(),
            port: addr.port(),
        }
    }
}

impl From<RemoteAddr> for SocketAddr {
    fn from(addr: RemoteAddr) -> Self {
        Self::new(addr.ip, addr.port)
    }
}
