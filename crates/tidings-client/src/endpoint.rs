//! The address of the server, and a byte stream to it.

use std::fmt;

use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite;
use tungstenite::http::Uri;
use tungstenite::http::uri::{Authority, Scheme};

use crate::error::InvalidUrl;
use crate::stream::ServerStream;
use crate::trust::Trust;

/// The address of a server, parsed from a URL.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    authority: Authority,
    /// The path before `/ws`. The prefix is empty, or begins with a slash and ends
    /// without one.
    prefix: String,
    secure: bool,
    trust: Trust,
}

impl Endpoint {
    /// Parses a URL with the scheme `http://`, `https://`, `ws://` or `wss://`. The URL
    /// may have a path, if a proxy serves Tidings below this path.
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let malformed = || InvalidUrl::Malformed {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let secure = match uri.scheme().map(Scheme::as_str) {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            Some(_) => {
                return Err(InvalidUrl::Scheme {
                    url: url.to_owned(),
                });
            }
            None => return Err(malformed()),
        };
        if secure && !cfg!(feature = "tls") {
            return Err(InvalidUrl::NoTls {
                url: url.to_owned(),
            });
        }
        let authority = uri.authority().cloned().ok_or_else(malformed)?;
        // Logs often contain URLs, so a URL must not carry a name and a password. Use
        // the token instead.
        if authority.host().is_empty() || authority.as_str().contains('@') || uri.query().is_some()
        {
            return Err(malformed());
        }
        let prefix = uri.path().trim_end_matches('/');
        let prefix = prefix.strip_suffix("/ws").unwrap_or(prefix).to_owned();
        Ok(Self {
            authority,
            prefix,
            secure,
            trust: Trust::default(),
        })
    }

    /// Adds authorities that are trusted in addition to the system's.
    pub(crate) fn trusting(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Returns the URL of the WebSocket.
    pub(crate) fn websocket(&self) -> String {
        let scheme = if self.secure { "wss" } else { "ws" };
        format!("{scheme}://{}{}/ws", self.authority, self.prefix)
    }

    /// Returns host and port, as in the URL.
    #[cfg(feature = "list")]
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Returns the request path of one of the server's paths, with the prefix.
    #[cfg(feature = "list")]
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn host(&self) -> &str {
        self.authority.host()
    }

    fn port(&self) -> u16 {
        let default = if self.secure { 443 } else { 80 };
        self.authority.port_u16().unwrap_or(default)
    }

    /// Connects, with TLS if the URL asks for it.
    pub(crate) async fn connect(&self) -> Result<ServerStream, std::io::Error> {
        let host = self.host().trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port())).await?;
        // Messages are small and urgent, so do not delay them to fill packets.
        stream.set_nodelay(true)?;
        if self.secure {
            ServerStream::secure(stream, host, &self.trust).await
        } else {
            Ok(ServerStream::Plain(stream))
        }
    }
}

/// Opens connections to a server for programs that speak the protocol on their own,
/// such as a load generator. [`ClientBuilder::dialer`](crate::ClientBuilder::dialer)
/// returns a dialer.
#[derive(Debug, Clone)]
pub struct Dialer(pub(crate) Endpoint);

impl Dialer {
    /// Returns the URL of the WebSocket: `ws://` or `wss://`, with `/ws` at its end.
    pub fn websocket(&self) -> String {
        self.0.websocket()
    }

    /// Opens a connection, with TLS if the URL asks for it.
    ///
    /// # Errors
    /// Returns an error if the server cannot be reached or its certificate is not
    /// trusted.
    ///
    /// # Cancel safety
    /// If the future is dropped, no connection stays open.
    pub async fn dial(&self) -> Result<ServerStream, std::io::Error> {
        self.0.connect().await
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_all_kinds_lead_to_the_websocket() {
        for (url, websocket) in [
            ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws"),
            ("ws://localhost:8000/", "ws://localhost:8000/ws"),
            ("ws://localhost:8000/ws", "ws://localhost:8000/ws"),
            ("http://[::1]:8000", "ws://[::1]:8000/ws"),
            ("http://proxy/progress/", "ws://proxy/progress/ws"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(endpoint.websocket(), websocket);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_its_name() {
        for url in [
            "",
            "localhost",
            "localhost:8000",
            "127.0.0.1:8000",
            "/ws",
            "ftp://localhost",
            "http://",
            "http://user:secret@localhost",
            "http://localhost?token=secret",
        ] {
            let error = Endpoint::parse(url).unwrap_err().to_string();
            assert!(error.contains(&format!("{url:?}")), "{error}");
        }
    }
}
