//! Thousands of clients that connect, disconnect and reconnect, on one thread.
//!
//! Each client checks that it receives the next offset and nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::frames::{self, Frames};
use super::loader::{head_end, upgrade};

/// The heartbeat interval of the server whose hour is compressed.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(800);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Off,
    Connecting,
    Upgrading,
    Open,
}

/// One client.
pub(crate) struct Peer {
    stream: Option<TcpStream>,
    pub(crate) stage: Stage,
    path: String,
    response: Vec<u8>,
    frames: Frames,
    /// When the client started to connect.
    pub(crate) began: Instant,
    pub(crate) epoch: String,
    /// The last offset that the client received, or at which it joined.
    pub(crate) last: u64,
    /// Whether the client itself says where to continue.
    resumes: bool,
}

/// Something that happened to a client.
pub(crate) enum News {
    /// The client has the response to its handshake.
    Upgraded,
    /// The client was greeted, and the server continues where it should.
    Greeted,
    /// The client received the next event.
    Event,
}

pub(crate) struct Peers {
    addr: SocketAddr,
    poll: Poll,
    pub(crate) all: Vec<Peer>,
    buffer: Vec<u8>,
}

impl Peers {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            poll: Poll::new().unwrap(),
            all: Vec::new(),
            buffer: vec![0; 256 * 1024],
        }
    }

    /// Connects a new client. Returns its number.
    pub(crate) fn come(&mut self, path: String) -> usize {
        self.all.push(Peer {
            stream: None,
            stage: Stage::Off,
            path,
            response: Vec::new(),
            frames: Frames::default(),
            began: Instant::now(),
            epoch: String::new(),
            last: 0,
            resumes: false,
        });
        let number = self.all.len() - 1;
        self.connect(number);
        number
    }

    /// Reconnects a client, which continues where it was.
    pub(crate) fn come_back(&mut self, number: usize, task_path: &str) {
        let peer = &mut self.all[number];
        peer.path = format!("{task_path}?since={}:{}", peer.epoch, peer.last);
        peer.resumes = true;
        self.connect(number);
    }

    /// Cuts a client's connection.
    pub(crate) fn cut(&mut self, number: usize) {
        let peer = &mut self.all[number];
        peer.stream = None;
        peer.stage = Stage::Off;
        peer.frames = Frames::default();
    }

    fn connect(&mut self, number: usize) {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(number), interest)
            .unwrap();
        let peer = &mut self.all[number];
        peer.stream = Some(stream);
        peer.stage = Stage::Connecting;
        peer.began = Instant::now();
    }

    /// Connects this number of clients, a few at a time, and waits until all are greeted.
    pub(crate) fn come_all(&mut self, count: usize, path: impl Fn(usize) -> String) {
        const AT_ONCE: usize = 256;
        let (mut started, mut greeted) = (0, 0);
        while greeted < count {
            while started < count && started - greeted < AT_ONCE {
                self.come(path(started));
                started += 1;
            }
            self.turn(Duration::from_secs(10), |_, _, news| {
                greeted += usize::from(matches!(news, News::Greeted));
            });
        }
    }

    /// Sends bytes from a client.
    pub(crate) fn say(&mut self, number: usize, frame: &[u8]) {
        let stream = self.all[number].stream.as_mut().expect("it is there");
        stream.write_all(frame).unwrap();
    }

    /// Reads for this long.
    pub(crate) fn idle(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.turn(Duration::from_millis(20), |_, _, _| {});
        }
    }

    /// Waits up to `timeout` for something to happen, and reports it.
    pub(crate) fn turn(&mut self, timeout: Duration, mut tell: impl FnMut(usize, &Peer, News)) {
        let mut events = Events::with_capacity(1_024);
        self.poll.poll(&mut events, Some(timeout)).unwrap();
        for event in &events {
            let number = event.token().0;
            let peer = &mut self.all[number];
            if peer.stage == Stage::Connecting && event.is_writable() {
                let request = upgrade(self.addr, &peer.path);
                let stream = peer.stream.as_mut().expect("it is connecting");
                if let Some(error) = stream.take_error().unwrap() {
                    panic!("peer {number} could not connect: {error}");
                }
                stream.set_nodelay(true).unwrap();
                stream.write_all(request.as_bytes()).unwrap();
                peer.stage = Stage::Upgrading;
            }
            if event.is_readable() {
                peer.read(number, &mut self.buffer, &mut tell);
            }
        }
    }
}

impl Peer {
    fn read(
        &mut self,
        number: usize,
        buffer: &mut [u8],
        tell: &mut impl FnMut(usize, &Peer, News),
    ) {
        // The readiness is edge-triggered, so read to the end.
        while let Some(stream) = &mut self.stream {
            match stream.read(buffer) {
                Ok(0) => panic!("the server closed the connection of peer {number}"),
                Ok(count) => {
                    self.take(number, &buffer[..count], tell);
                    if count < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the connection of peer {number} broke: {error}"),
            }
        }
    }

    fn take(&mut self, number: usize, bytes: &[u8], tell: &mut impl FnMut(usize, &Peer, News)) {
        if self.stage == Stage::Upgrading {
            self.response.extend_from_slice(bytes);
            let Some(end) = head_end(&self.response) else {
                return;
            };
            assert!(self.response.starts_with(b"HTTP/1.1 101"), "an upgrade");
            self.stage = Stage::Open;
            tell(number, self, News::Upgraded);
            let rest = std::mem::take(&mut self.response).split_off(end);
            self.feed(number, &rest, tell);
        } else {
            self.feed(number, bytes, tell);
        }
    }

    fn feed(&mut self, number: usize, bytes: &[u8], tell: &mut impl FnMut(usize, &Peer, News)) {
        let mut frames = std::mem::take(&mut self.frames);
        frames.feed(bytes, |opcode, head| {
            if opcode == frames::PING {
                let stream = self.stream.as_mut().expect("it is being read");
                stream.write_all(&frames::PONG).unwrap();
            } else if frames::is_event(head) {
                let offset = frames::number(head, frames::OFFSET);
                assert_eq!(
                    offset,
                    Some(self.last + 1),
                    "peer {number}: the next offset"
                );
                self.last += 1;
                tell(number, self, News::Event);
            } else if frames::is_gap(head) {
                panic!("peer {number} was told of a gap, though all was retained");
            } else if head.starts_with(b"{\"event_type\":\"connection_est") {
                if let Some(epoch) = frames::text(head, frames::EPOCH) {
                    self.epoch = epoch;
                }
                if !self.resumes {
                    self.last = frames::number(head, frames::OFFSET).unwrap_or(0);
                }
                tell(number, self, News::Greeted);
            }
        });
        self.frames = frames;
    }
}
