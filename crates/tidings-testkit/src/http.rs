//! HTTP/1.1 by hand: a test decides about every byte on the wire.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{DEADLINE, TestServer};

/// A complete response.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Returns the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns the body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// Returns the body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head of text");
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        Self {
            status: status.expect("a status line"),
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }
}

/// Sends bytes, and reads the response until the server closes the connection.
///
/// # Panics
/// Panics if the server does not close within the deadline, or does not answer with HTTP.
pub async fn http_exchange(addr: SocketAddr, request: &[u8]) -> HttpResponse {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await.expect("a connection");
        // A server that refuses a request may close before it has read all of it.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    let answer = tokio::time::timeout(DEADLINE, exchange).await;
    HttpResponse::parse(&answer.expect("a response in time"))
}

impl TestServer {
    /// Sends one request on its own connection.
    ///
    /// # Panics
    /// Panics if no response arrives.
    pub async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> HttpResponse {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.addr());
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("Connection: close\r\n\r\n");
        request.push_str(body);
        http_exchange(self.addr(), request.as_bytes()).await
    }

    /// Sends a GET request.
    ///
    /// # Panics
    /// Panics if no response arrives.
    pub async fn get(&self, path: &str) -> HttpResponse {
        self.http("GET", path, &[], "").await
    }
}
