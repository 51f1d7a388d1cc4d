//! What happens if thousands of connections are cut at once?
//!
//! `cargo bench --bench recovery`:
//! * cuts all of 10,000 clients. They miss 100 events each and reconnect at once. Measures how long
//!   it takes until the last client is live again, how much memory that takes, and how long new
//!   clients wait meanwhile;
//! * cuts half of 10,000 clients. Measures how long new clients and live deliveries wait;
//! * cuts 10,000 clients again, with a task each and all with one task. Compares the time until the
//!   last client is live again with 10,000 upgrades of a bare hyper server;
//! * disconnects clients for good. Measures what each costs until the server deletes its state.
//!
//! Every client checks every offset. A lost or repeated offset fails the bench.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::loader::{self, EVENT_BYTES, Histogram, task_id};
use crate::support::peers::{News, Peers, Stage};
use crate::support::process::{self, ServerProcess};
use crate::support::report::median;
use crate::support::{Args, results};

const TASKS: usize = 100;
const MISSED: u64 = 100;
/// The time between two new clients.
const NEWCOMER_EVERY: Duration = Duration::from_millis(10);
/// The time after which the bench fails. Its parts take a few seconds, so an event that has not
/// arrived by then will never arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long new clients connect while half of all clients are cut.
const HALF: Duration = Duration::from_secs(3);
/// The number of concurrent handshakes. The listener's queue is limited.
const AT_ONCE: usize = 1_000;

pub(crate) fn main() {
    let args = Args::read();
    let clients = if args.quick { 500 } else { 10_000 };
    process::pin_to_core(1);
    if args.wants("all") {
        all_cut(clients);
    }
    if args.wants("half") {
        half_cut(clients);
    }
    if args.wants("storm") {
        storms(clients, args.quick);
    }
    if args.wants("away") {
        away(clients, args.quick);
    }
}

fn path(number: usize) -> String {
    format!("/ws/tasks/{}", task_id(number % TASKS))
}

fn publisher(server: &ServerProcess) -> std::net::TcpStream {
    let publisher = loader::handshake(server.addr(), "/ws");
    let mut acks = publisher.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while matches!(std::io::Read::read(&mut acks, &mut buffer), Ok(count) if count > 0) {}
    });
    publisher
}

/// Publishes this number of events to each task.
fn publish(publisher: &mut std::net::TcpStream, count: u64) {
    for _ in 0..count {
        for task in 0..TASKS {
            publisher
                .write_all(&loader::request(task, EVENT_BYTES))
                .unwrap();
        }
    }
}

fn all_cut(clients: usize) {
    let server = ServerProcess::start("tidings");
    let mut peers = Peers::new(server.addr());
    let mut publisher = publisher(&server);
    publish(&mut publisher, 10);
    peers.come_all(clients, path);
    let before = server.resident();
    (0..clients).for_each(|number| peers.cut(number));
    publish(&mut publisher, MISSED);
    let target: Vec<u64> = peers.all.iter().map(|peer| peer.last + MISSED).collect();
    let start = Instant::now();
    let (mut begun, mut greeted, mut live) = (0, 0, 0);
    let mut newcomers = Newcomers::default();
    let mut took = None;
    // The last new clients wait as long as the others. A client that is not connected yet would
    // start after the event below.
    while took.is_none() || newcomers.count < newcomers.came {
        assert!(
            start.elapsed() < PATIENCE,
            "{live} of {clients} are live, {} of {} newcomers were greeted",
            newcomers.count,
            newcomers.came
        );
        while begun < clients && begun - greeted < AT_ONCE {
            peers.come_back(begun, &path(begun));
            begun += 1;
        }
        if took.is_none() {
            newcomers.come(&mut peers);
        }
        peers.turn(Duration::from_millis(1), |number, peer, news| match news {
            News::Upgraded => {}
            News::Greeted if number < clients => greeted += 1,
            News::Greeted => newcomers.greeted(peer),
            News::Event => live += usize::from(target.get(number) == Some(&peer.last)),
        });
        if live == clients {
            took.get_or_insert_with(|| start.elapsed());
        }
    }
    println!(
        "{clients} clients cut at once, {MISSED} events missed each: the last is live after \
         {:.2} s; newcomers meanwhile: p99 {:.1} ms of {}; resident memory {:.1} MiB before, \
         {:.1} MiB at most",
        took.unwrap_or_default().as_secs_f64(),
        newcomers.waits.quantile(0.99),
        newcomers.count,
        before as f64 / 1_048_576.0,
        server.peak() as f64 / 1_048_576.0,
    );
    // Check that each client is live: it receives the next event, and that event has the next
    // offset.
    publish(&mut publisher, 1);
    let mut had = 0;
    let deadline = Instant::now() + Duration::from_secs(10);
    while had < peers.all.len() {
        let all = peers.all.len();
        assert!(Instant::now() < deadline, "{had} of {all} got an event");
        peers.turn(Duration::from_millis(10), |_, _, news| {
            had += usize::from(matches!(news, News::Event));
        });
    }
}

fn half_cut(clients: usize) {
    let server = ServerProcess::start("tidings");
    let mut peers = Peers::new(server.addr());
    let mut publisher = publisher(&server);
    peers.come_all(clients, path);
    for cut in [false, true] {
        if cut {
            (0..clients).step_by(2).for_each(|number| peers.cut(number));
        }
        let mut newcomers = Newcomers::default();
        let mut deliveries = Histogram::default();
        // One task's watchers receive an event every 20 ms. The next is sent when the last watcher
        // has it.
        let request = loader::request(1, EVENT_BYTES);
        let mut sent = Instant::now();
        let mut missing = 0;
        let start = Instant::now();
        // Wait for all new clients, or the longest waits would not be counted.
        while start.elapsed() < HALF || newcomers.count < newcomers.came {
            assert!(
                start.elapsed() < PATIENCE,
                "{} of {} newcomers were greeted",
                newcomers.count,
                newcomers.came
            );
            if missing == 0 && sent.elapsed() > Duration::from_millis(20) {
                publisher.write_all(&request).unwrap();
                sent = Instant::now();
                missing = (1..clients)
                    .step_by(TASKS)
                    .filter(|number| peers.all[*number].stage == Stage::Open)
                    .count();
            }
            if start.elapsed() < HALF {
                newcomers.come(&mut peers);
            }
            peers.turn(Duration::from_millis(1), |number, peer, news| match news {
                News::Upgraded => {}
                News::Greeted => newcomers.greeted(peer),
                News::Event if number < clients => {
                    deliveries.add(sent.elapsed());
                    missing = missing.saturating_sub(1);
                }
                News::Event => {}
            });
        }
        println!(
            "{}: p99 of a fresh connect {:.1} ms, of a live delivery {:.1} ms",
            if cut {
                "after half of them were cut at once"
            } else {
                "before"
            },
            newcomers.waits.quantile(0.99),
            deliveries.quantile(0.99)
        );
    }
}

/// Compares the time of a storm of reconnects with the time of as many bare upgrades.
fn storms(clients: usize, quick: bool) {
    const ROUNDS: usize = 5;
    let rounds = if quick { 1 } else { ROUNDS };
    let mut seen: [Vec<f64>; 3] = Default::default();
    for _ in 0..rounds {
        seen[0].push(storm("hyper", clients, 1));
        seen[1].push(storm("tidings", clients, clients));
        seen[2].push(storm("tidings", clients, 1));
    }
    let of = |at: usize| median(seen[at].iter().copied());
    println!(
        "{clients} clients cut at once: bare upgrades take {:.2} s; the last is live after \
         {:.2} s with a task each, {:.2} s with one task",
        of(0),
        of(1),
        of(2)
    );
    for (at, key) in [(1, "storm_own_to_hyper"), (2, "storm_one_to_hyper")] {
        let ratio = median(seen[at].iter().zip(&seen[0]).map(|(own, bare)| own / bare));
        println!("{key}: {ratio:.2}");
        if !quick {
            results::record(key, ratio);
        }
    }
}

/// Cuts all clients, and returns the seconds until the last one is live again: it has the event
/// that it missed. A bare server has no events, so there a client is live when it is upgraded.
fn storm(kind: &str, clients: usize, tasks: usize) -> f64 {
    /// Both servers have time to notice the cuts. The storm itself is measured alone.
    const REST: Duration = Duration::from_secs(1);
    let bare = kind == "hyper";
    let server = ServerProcess::start(kind);
    let path = |number: usize| format!("/ws/tasks/{}", task_id(number % tasks));
    let mut peers = Peers::new(server.addr());
    let mut publisher = (!bare).then(|| publisher(&server));
    let mut publish = || {
        for task in 0..tasks {
            if let Some(publisher) = &mut publisher {
                let request = loader::request(task, EVENT_BYTES);
                publisher.write_all(&request).unwrap();
            }
        }
        std::thread::sleep(REST);
    };
    publish();
    run_storm(&mut peers, clients, bare, |peers, number| {
        peers.come(path(number));
    });
    (0..clients).for_each(|number| peers.cut(number));
    publish();
    let start = Instant::now();
    run_storm(&mut peers, clients, bare, |peers, number| {
        peers.come_back(number, &path(number));
    });
    start.elapsed().as_secs_f64()
}

/// Connects all clients, and waits until the last one is live. A client that was there before has
/// missed one event.
fn run_storm(
    peers: &mut Peers,
    clients: usize,
    bare: bool,
    mut connect: impl FnMut(&mut Peers, usize),
) {
    let again = !peers.all.is_empty();
    let (mut begun, mut upgraded, mut live) = (0, 0, 0);
    let start = Instant::now();
    while live < clients {
        assert!(start.elapsed() < PATIENCE, "{live} of {clients} are live");
        while begun < clients && begun - upgraded < AT_ONCE {
            connect(peers, begun);
            begun += 1;
        }
        peers.turn(Duration::from_millis(1), |_, _, news| {
            upgraded += usize::from(matches!(news, News::Upgraded));
            live += usize::from(match news {
                News::Upgraded => bare,
                News::Greeted => !again,
                News::Event => again,
            });
        });
    }
}

/// New clients, which connect at regular intervals.
#[derive(Default)]
struct Newcomers {
    last: Option<Instant>,
    waits: Histogram,
    came: usize,
    count: usize,
}

impl Newcomers {
    fn come(&mut self, peers: &mut Peers) {
        if self.last.is_none_or(|last| last.elapsed() > NEWCOMER_EVERY) {
            self.last = Some(Instant::now());
            peers.come(path(0));
            self.came += 1;
        }
    }

    fn greeted(&mut self, peer: &crate::support::peers::Peer) {
        self.waits.add(peer.began.elapsed());
        self.count += 1;
    }
}

/// Several waves of clients connect and disconnect, so that the memory of connected clients is
/// small compared with that of disconnected ones.
fn away(clients: usize, quick: bool) {
    const WAVE: usize = 250;
    let server = ServerProcess::returning_memory("tidings");
    let mut publisher = publisher(&server);
    publish(&mut publisher, 1);
    let waves = clients.div_ceil(WAVE);
    let mut sizes = Vec::new();
    for round in 0..3 {
        for _ in 0..waves {
            Peers::new(server.addr()).come_all(WAVE, path);
        }
        std::thread::sleep(Duration::from_millis(500));
        sizes.push(server.resident());
        eprintln!("away, round {}: {} KiB", round + 1, sizes[round] / 1_024);
    }
    // The first round also pays for things that are created only once.
    let grown = sizes[2].saturating_sub(sizes[0]) as f64;
    let each = grown / (2 * waves * WAVE) as f64;
    println!("a client that is away and may come back: {each:.0} bytes");
    if !quick {
        results::record("away_bytes", each);
    }
}
