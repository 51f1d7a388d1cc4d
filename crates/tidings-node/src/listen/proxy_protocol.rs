//! The PROXY protocol, version 2: who is behind a proxy that passes bytes on.

use std::io;
use std::net::SocketAddr;

use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What every header begins with, the length of the rest at its end.
const MINIMUM_LENGTH: usize = 16;

/// Addresses and what proxies add to them, in bytes at most.
const MAX_BODY: usize = 4 * 1024;

/// Reads the header, and not a byte more; gives the client's address, none if
/// the proxy speaks for itself, as in its health checks.
///
/// # Errors
/// Something else comes, or nothing more.
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
