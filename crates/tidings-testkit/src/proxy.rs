//! A network that fails: a TCP proxy whose connections break at seeded moments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The fault of a connection, which happens after some bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Both sides are closed.
    Cut,
    /// Nothing arrives any more in either direction, and neither side is told.
    Stall,
    /// This direction ends, and the other continues.
    HalfClose,
    /// The connection is slow all the time.
    Delay,
}

/// The most bytes before the fault, which happens during a handshake or long after it.
const BYTES: usize = 12_000;

/// The most milliseconds by which a slow connection delays its data.
const DELAY_MS: u64 = 15;

/// A proxy in front of a server.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    healed: AtomicBool,
    /// Notifies connections that they must end.
    broken: Notify,
    faults: AtomicUsize,
}

impl FaultProxy {
    /// Starts a proxy on a free port. The seed alone decides which connections fail, and when.
    ///
    /// # Panics
    /// Panics if no port is free.
    pub async fn start(upstream: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream,
            healed: AtomicBool::new(false),
            broken: Notify::new(),
            faults: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), seed));
        Self {
            addr,
            shared,
            accepting,
        }
    }

    /// Returns the address for clients.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the number of faults so far.
    pub fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::Acquire)
    }

    /// Stops all faults. Connections that were going to fail end now.
    pub fn heal(&self) {
        self.shared.healed.store(true, Ordering::Release);
        self.shared.broken.notify_waiters();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.broken.notify_waiters();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    while let Ok((client, _)) = listener.accept().await {
        let plan = (!shared.healed.load(Ordering::Acquire)).then(|| Plan::draw(&mut rng));
        tokio::spawn(connection(client, plan, Arc::clone(&shared)));
    }
}

/// The planned fault of one connection.
#[derive(Debug, Clone, Copy)]
struct Plan {
    fault: Fault,
    to_server: bool,
    after: usize,
    delay: Duration,
}

impl Plan {
    fn draw(rng: &mut fastrand::Rng) -> Self {
        let faults = [Fault::Cut, Fault::Stall, Fault::HalfClose, Fault::Delay];
        Self {
            fault: faults[rng.usize(..faults.len())],
            to_server: rng.bool(),
            // Faults happen early more often than late.
            after: rng.usize(..BYTES) * rng.usize(..BYTES) / BYTES,
            delay: Duration::from_millis(rng.u64(..DELAY_MS)),
        }
    }
}

async fn connection(client: TcpStream, plan: Option<Plan>, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.upstream).await else {
        return;
    };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let this = |direction: bool| plan.filter(|plan| plan.to_server == direction);
    let delay = plan.filter(|plan| plan.fault == Fault::Delay);
    let delay = delay.map(|plan| plan.delay);
    let both = async {
        let up = relay(from_client, to_server, this(true), delay);
        let down = relay(from_server, to_client, this(false), delay);
        tokio::pin!(up, down);
        let (first, rest) = tokio::select! {
            ended = &mut up => (ended, down),
            ended = &mut down => (ended, up),
        };
        match first {
            Ended::ByFault(fault, _halves) => {
                shared.faults.fetch_add(1, Ordering::AcqRel);
                match fault {
                    Fault::Stall => std::future::pending().await,
                    Fault::HalfClose => drop(rest.await),
                    Fault::Cut | Fault::Delay => {}
                }
            }
            Ended::ByPeer => drop(rest.await),
        }
    };
    tokio::select! {
        () = both => {}
        // A stalled connection ends this way, and so does any other with a planned fault.
        () = shared.broken.notified(), if plan.is_some() => {}
    }
}

/// How a direction ended.
enum Ended {
    ByPeer,
    /// Contains the sockets, which close only when the fault closes them.
    ByFault(Fault, (OwnedReadHalf, OwnedWriteHalf)),
}

async fn relay(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: Option<Plan>,
    delay: Option<Duration>,
) -> Ended {
    let mut buffer = [0; 4096];
    let mut passed = 0;
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            let _ = to.shutdown().await;
            return Ended::ByPeer;
        };
        let mut bytes = &buffer[..count];
        let doomed = plan.filter(|plan| plan.fault != Fault::Delay);
        let doomed = doomed.filter(|plan| passed + count > plan.after);
        if let Some(plan) = doomed {
            // Cut at the exact byte, so that faults also happen in the middle of a message.
            bytes = &bytes[..plan.after.saturating_sub(passed)];
        }
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let written = to.write_all(bytes).await;
        passed += bytes.len();
        if let Some(plan) = doomed {
            if plan.fault == Fault::HalfClose {
                let _ = to.shutdown().await;
            }
            return Ended::ByFault(plan.fault, (from, to));
        }
        if written.is_err() {
            return Ended::ByPeer;
        }
    }
}
