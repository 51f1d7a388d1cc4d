//! The PROXY protocol, version 2, which tells the address of a client behind a TCP proxy.

use std::io;
use std::net::SocketAddr;

use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The length of the fixed part of a header. It ends with the length of the rest.
const MINIMUM_LENGTH: usize = 16;

/// The most bytes of the rest: the addresses, and the fields that proxies add.
const MAX_BODY: usize = 4 * 1024;

/// Reads exactly the header and returns the client's address. Returns `None` if the proxy itself is
/// the client, as in its health checks.
///
/// # Errors
/// Returns an error if the stream does not begin with a header, or ends.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut bytes = vec![0; MINIMUM_LENGTH];
    stream.read_exact(&mut bytes).await?;
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if !bytes.starts_with(ppp::v2::PROTOCOL_PREFIX) || length > MAX_BODY {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.resize(MINIMUM_LENGTH + length, 0);
    stream.read_exact(&mut bytes[MINIMUM_LENGTH..]).await?;
    let header = Header::try_from(bytes.as_slice()).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(match (header.command, header.addresses) {
        (Command::Proxy, Addresses::IPv4(known)) => {
            Some((known.source_address, known.source_port).into())
        }
        (Command::Proxy, Addresses::IPv6(known)) => {
            Some((known.source_address, known.source_port).into())
        }
        _ => None,
    })
}
