//! How does one subject that floods the server affect the others?
//!
//! `cargo bench --bench flood`: 500 watchers watch ten tasks with 100 publishes per second. A flood
//! comes from another subject at an address of its own. It either publishes at ten times its limit
//! over ten connections, or opens connections at ten times its limit. The limits are those for
//! strangers. Calm phases and floods alternate on the same server, so the ratios of p99 latencies
//! come from one run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::support::frames::{self, Frames};
use crate::support::loader::{self, EVENT_BYTES, Load, Loader, Pace};
use crate::support::process::{self, ServerProcess};
use crate::support::report::median;
use crate::support::{Args, results};

/// The load of the other clients, all the time.
const OTHERS: Load = Load {
    tasks: 10,
    watchers: 500,
    pace: Pace::Rate(100),
    event_bytes: EVENT_BYTES,
};

/// The number of connections of the flood.
const LANES: usize = 10;

/// The flood's publishes per second: ten times what one client may send.
const FLOOD: u64 = 50_000;

/// The pause between two bursts of the flood, so that the flood uses little of the loader's core.
const BURST: Duration = Duration::from_millis(4);

/// The number of connections that one address may open at once, and that the flood opens in each
/// burst. It is ten times the rate that is allowed after that.
const HANDSHAKES_AT_ONCE: usize = 1_000;
const CONNECTIONS_A_BURST: usize = 4;

/// How long to wait for an answer to the flood. Some requests never get one.
const PATIENCE: Duration = Duration::from_millis(500);

/// A kind of flood, and the function that starts it.
type Kind = (&'static str, fn(SocketAddr) -> Flood);

const KINDS: [Kind; 2] = [("publishes", publishes), ("connections", connections)];

pub(crate) fn main() {
    let args = Args::read();
    let (rounds, window) = if args.quick {
        (1, Duration::from_millis(300))
    } else {
        (4, Duration::from_secs(2))
    };
    process::pin_to_core(1);
    let server = ServerProcess::start("tidings-strangers");
    let mut others = Loader::connect(server.addr(), &OTHERS, true);
    let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); KINDS.len()];
    println!(
        "{:<16}{:>14}{:>14}{:>10}{:>14}{:>14}",
        "flood of", "calm p99 ms", "p99 ms", "ratio", "sent/s", "refused/s"
    );
    for _ in 0..rounds {
        let calm = others.run(window).latency(0.99);
        for (kind, (name, start)) in KINDS.iter().enumerate() {
            if !args.wants(name) {
                continue;
            }
            let flood = start(server.addr());
            let began = Instant::now();
            let flooded = others.run(window).latency(0.99);
            let seconds = began.elapsed().as_secs_f64();
            let (sent, refused) = flood.stop();
            assert!(refused > 0, "no flood: nothing of it was refused");
            println!(
                "{name:<16}{calm:>14.2}{flooded:>14.2}{:>10.2}{:>14.0}{:>14.0}",
                flooded / calm,
                sent as f64 / seconds,
                refused as f64 / seconds
            );
            ratios[kind].push(flooded / calm);
        }
    }
    for (key, ratios) in ["flood_p99_to_calm", "flood_connections_p99_to_calm"]
        .iter()
        .zip(ratios)
    {
        if !args.quick && !ratios.is_empty() {
            results::record(key, median(ratios.into_iter()));
        }
    }
}

/// What a flood has done so far.
#[derive(Default)]
struct Done {
    stop: AtomicBool,
    sent: AtomicU64,
    refused: AtomicU64,
}

/// A running flood.
struct Flood {
    done: Arc<Done>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// Ends the flood. Returns how many requests were sent, and how many of them were refused.
    fn stop(self) -> (u64, u64) {
        self.done.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.done.sent), count(&self.done.refused))
    }
}

/// Connects as another client, as the server sees it.
fn arrive(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let request =
        loader::upgrade(addr, "/ws").replace("\r\n\r\n", "\r\nAuthorization: Bearer flood\r\n\r\n");
    // Use an address of its own, which has limits of its own.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into())?;
    socket.connect(&addr.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}

/// Publishes on several connections, each to a task of its own. A closed connection is opened
/// again.
fn publishes(addr: SocketAddr) -> Flood {
    let done = Arc::new(Done::default());
    let burst = FLOOD * BURST.as_millis() as u64 / 1_000 / LANES as u64;
    let threads = (0..LANES).flat_map(|lane| {
        let bytes = loader::request(OTHERS.tasks + lane, EVENT_BYTES).repeat(burst as usize);
        let (streams, taken) = std::sync::mpsc::sync_channel::<TcpStream>(1);
        let (sender, reader) = (Arc::clone(&done), Arc::clone(&done));
        let send = std::thread::spawn(move || {
            while !sender.stop.load(Ordering::Relaxed) {
                let Ok(mut stream) = arrive(addr) else {
                    continue;
                };
                streams.send(stream.try_clone().unwrap()).unwrap();
                while !sender.stop.load(Ordering::Relaxed) && stream.write_all(&bytes).is_ok() {
                    sender.sent.fetch_add(burst, Ordering::Relaxed);
                    std::thread::sleep(BURST);
                }
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        });
        let read = std::thread::spawn(move || {
            for stream in taken {
                let refused = refusals(stream);
                reader.refused.fetch_add(refused, Ordering::Relaxed);
            }
        });
        [send, read]
    });
    let threads = threads.collect();
    Flood { done, threads }
}

/// Reads the answers of one connection to their end. Returns how many were refusals.
fn refusals(mut stream: TcpStream) -> u64 {
    let mut buffer = vec![0; 64 * 1024];
    // A response without a body precedes the frames.
    let mut head = Vec::new();
    while loader::head_end(&head).is_none() {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => head.extend_from_slice(&buffer[..count]),
            _ => return 0,
        }
    }
    let rest = head.split_off(loader::head_end(&head).unwrap_or_default());
    let mut frames = Frames::default();
    let mut refused = 0;
    let mut count = |_: u8, head: &[u8]| {
        refused += u64::from(frames::text(head, "\"code\":").as_deref() == Some("rate_limited"));
    };
    frames.feed(&rest, &mut count);
    while let Ok(read) = stream.read(&mut buffer) {
        if read == 0 {
            break;
        }
        frames.feed(&buffer[..read], &mut count);
    }
    refused
}

/// Opens one connection after another, and keeps those that are accepted.
fn connections(addr: SocketAddr) -> Flood {
    let done = Arc::new(Done::default());
    let flood = Arc::clone(&done);
    // Use up the burst that is allowed before anything is measured.
    let mut open: Vec<_> = (0..HANDSHAKES_AT_ONCE)
        .filter_map(|_| gets_in(addr))
        .collect();
    let thread = std::thread::spawn(move || {
        while !flood.stop.load(Ordering::Relaxed) {
            for _ in 0..CONNECTIONS_A_BURST {
                flood.sent.fetch_add(1, Ordering::Relaxed);
                match gets_in(addr) {
                    Some(stream) => open.push(stream),
                    None => _ = flood.refused.fetch_add(1, Ordering::Relaxed),
                }
            }
            std::thread::sleep(BURST);
        }
    });
    Flood {
        done,
        threads: vec![thread],
    }
}

/// Opens one more connection. Returns it if the server accepts it.
fn gets_in(addr: SocketAddr) -> Option<TcpStream> {
    let mut stream = arrive(addr).ok()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    (&status == b"HTTP/1.1 101").then_some(stream)
}
