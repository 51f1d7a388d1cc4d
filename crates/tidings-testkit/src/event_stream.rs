//! A reader of server-sent events that sees every byte.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::DEADLINE;

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `data:` line. Each event has exactly one.
    pub data: String,
    /// The `id:` line.
    pub id: Option<String>,
    /// The value of `retry:`, if one came before the event.
    pub retry: Option<u32>,
    /// The number of comments before the event.
    pub comments: usize,
}

/// A response of server-sent events on its own connection.
#[derive(Debug)]
pub struct EventStream {
    stream: TcpStream,
    head: String,
    /// Bytes from the socket, including chunk headers.
    raw: Vec<u8>,
    /// The bytes of the body that are not parsed yet.
    body: String,
    /// The whole body so far.
    seen: String,
    ended_well: bool,
}

impl EventStream {
    /// Requests a stream with these headers. Each header includes its line break.
    ///
    /// # Panics
    /// Panics if the server refuses the stream.
    pub async fn open(addr: SocketAddr, path: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(addr).await.expect("a connection");
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nAccept: text/event-stream\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("a write");
        let mut opened = Self {
            stream,
            head: String::new(),
            raw: Vec::new(),
            body: String::new(),
            seen: String::new(),
            ended_well: false,
        };
        while opened.head.is_empty() {
            assert!(opened.fill().await, "a head before the end");
            if let Some(end) = opened.raw.windows(4).position(|at| at == b"\r\n\r\n") {
                let head: Vec<u8> = opened.raw.drain(..end + 4).collect();
                opened.head = String::from_utf8(head).expect("a head of text");
            }
        }
        assert!(opened.head.starts_with("HTTP/1.1 200 "), "{}", opened.head);
        assert_eq!(opened.header("transfer-encoding"), Some("chunked"));
        opened
    }

    /// Returns the first header with this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns the whole body so far.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// Returns whether the body ended properly, instead of being cut.
    pub fn ended_well(&self) -> bool {
        self.ended_well
    }

    async fn fill(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.raw);
        let read = tokio::time::timeout(DEADLINE, read).await;
        read.expect("bytes in time").unwrap_or(0) > 0
    }

    /// Moves complete chunks from the raw bytes to the body.
    fn unchunk(&mut self) {
        while let Some(line) = self.raw.windows(2).position(|at| at == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[..line]).expect("a chunk's size");
            let size = usize::from_str_radix(size, 16).expect("a chunk's size");
            let end = line + 2 + size;
            if self.raw.len() < end + 2 {
                return;
            }
            self.ended_well |= size == 0;
            let chunk: Vec<u8> = self
                .raw
                .drain(..end + 2)
                .skip(line + 2)
                .take(size)
                .collect();
            let text = String::from_utf8(chunk).expect("a body of text");
            self.seen.push_str(&text);
            self.body.push_str(&text);
        }
    }

    /// Returns the next event, or `None` at the end of the stream.
    ///
    /// # Panics
    /// Panics if nothing arrives in time, or if a line has an unknown form.
    pub async fn next(&mut self) -> Option<SseEvent> {
        let mut event = SseEvent::default();
        loop {
            self.unchunk();
            while let Some(end) = self.body.find('\n') {
                let line: String = self.body.drain(..=end).collect();
                let line = &line[..end];
                match line.split_once(": ") {
                    Some(("data", data)) => {
                        assert!(event.data.is_empty(), "one line of data each");
                        data.clone_into(&mut event.data);
                    }
                    Some(("id", id)) => event.id = Some(id.to_owned()),
                    Some(("retry", retry)) => event.retry = retry.parse().ok(),
                    Some(("", _)) => event.comments += 1,
                    None if line.is_empty() => {
                        if !event.data.is_empty() {
                            return Some(event);
                        }
                    }
                    _ => panic!("a line that no browser knows: {line:?}"),
                }
            }
            if self.ended_well || !self.fill().await {
                return None;
            }
        }
    }
}
