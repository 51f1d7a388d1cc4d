//! What do several nodes over Redis cost, compared with one node in memory and with Redis alone?
//!
//! `cargo bench --bench redis` starts a `redis-server` and measures three things:
//!
//! * Events per second from publishers on one node to watchers on another. The comparison is the
//!   same Redis script, pipelined over one connection. Both have 64 tasks with four events in
//!   flight each; the nodes use four connections. Nodes give Redis several events of a task at a
//!   time, and the bare run does not. The nodes also run with 64 connections and one event in
//!   flight each, where there is nothing to group.
//! * The time of one event from publish to delivery, through two nodes and on one node in memory.
//! * The CPU time per delivery of a node whose thousand watchers receive events through Redis,
//!   compared with a node in memory at the same rate.
//!
//! Redis, the nodes and the loader share the available cores. With two cores, the nodes use CPU
//! time that Redis has for itself in the bare run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidings_testkit::RedisServer;

use crate::support::frames;
use crate::support::loader::{self, EVENT_BYTES, Load, Loader, Pace};
use crate::support::process::ServerProcess;
use crate::support::report::{Measured, P50, median};
use crate::support::{Args, results};

const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_secs(2);
const TASKS: usize = 64;
/// The number of events in flight for each task.
const DEPTH: usize = 4;
/// The number of publishers, and of watchers, that share the tasks.
const CONNECTIONS: usize = 4;

/// The script with which nodes append events.
const SCRIPT: &str = concat!(
    include_str!("../../crates/tidings-redis/src/lua/shared.lua"),
    include_str!("../../crates/tidings-redis/src/lua/append.lua")
);

pub(crate) fn main() {
    let args = Args::read();
    let (rounds, window) = if args.quick {
        (1, Duration::from_millis(500))
    } else {
        (ROUNDS, WINDOW)
    };
    let mut events = [Vec::new(), Vec::new()];
    let mut apart = [Vec::new(), Vec::new()];
    let mut latency = [Vec::new(), Vec::new()];
    let mut cpu = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        let redis = RedisServer::start();
        events[0].push(bare(&redis, window));
        events[1].push(through_two_nodes(
            &RedisServer::start(),
            CONNECTIONS,
            DEPTH,
            window,
        ));
        apart[0].push(events[0][round - 1]);
        apart[1].push(through_two_nodes(&RedisServer::start(), TASKS, 1, window));
        eprintln!(
            "round {round}: {:.0} events/s of Redis alone, {:.0} through two nodes, \
             {:.0} one at a time",
            events[0][round - 1],
            events[1][round - 1],
            apart[1][round - 1]
        );
        let one = Load {
            tasks: 1,
            watchers: 1,
            pace: Pace::InFlight(1),
            event_bytes: EVENT_BYTES,
        };
        let many = Load {
            watchers: 1_000,
            pace: Pace::Rate(50),
            ..one
        };
        for (load, values) in [(one, &mut latency), (many, &mut cpu)] {
            let server = ServerProcess::start("tidings");
            let (seen, used) = loaded(&server, server.addr(), &load, window);
            values[0].push(if load.watchers == 1 { seen } else { used });
            let redis = RedisServer::start();
            let nodes = [(); 2].map(|()| ServerProcess::over_redis(&redis.url()));
            let (seen, used) = loaded(&nodes[1], nodes[0].addr(), &load, window);
            values[1].push(if load.watchers == 1 { seen } else { used });
        }
    }
    let of = |values: &[Vec<f64>; 2], at: usize| median(values[at].iter().copied());
    let ratio = |values: &[Vec<f64>; 2], own: usize| {
        median(
            values[own]
                .iter()
                .zip(&values[1 - own])
                .map(|(own, other)| own / other),
        )
    };
    println!(
        "events/s: the script alone {:.0}, through two nodes {:.0}, ratio {:.2}",
        of(&events, 0),
        of(&events, 1),
        ratio(&events, 1)
    );
    println!(
        "one event of a task at a time, {TASKS} connections: {:.0}, ratio {:.2}",
        of(&apart, 1),
        ratio(&apart, 1)
    );
    println!(
        "publish to delivery, p50 at 1 in flight: memory {:.3} ms, two nodes {:.3} ms, ratio {:.2}",
        of(&latency, 0),
        of(&latency, 1),
        ratio(&latency, 1)
    );
    println!(
        "CPU a delivery at 50 events/s to 1,000: memory {:.2} \u{b5}s, a node over Redis {:.2} \u{b5}s",
        of(&cpu, 0),
        of(&cpu, 1)
    );
    if !args.quick {
        results::record("redis_events_to_bare", ratio(&events, 1));
        results::record("redis_fanout_to_memory", ratio(&cpu, 0));
    }
}

/// Returns the median latency in ms, and the CPU time per delivery in µs, of a node with watchers.
fn loaded(
    watched: &ServerProcess,
    publish_at: SocketAddr,
    load: &Load,
    window: Duration,
) -> (f64, f64) {
    let mut loader = Loader::across(watched.addr(), publish_at, load, true);
    let before = watched.run_time();
    let cpu = watched.cpu();
    let seen = loader.run(window);
    let used = (watched.run_time() - before) * 1e6 / seen.deliveries as f64;
    let measured = Measured::new(&seen, watched.cpu().since(&cpu));
    (P50.of(&measured), used)
}

/// Returns the events per second that reached watchers on one node from publishers on another. Uses
/// this number of connections, and this number of events in flight for each task.
fn through_two_nodes(
    redis: &RedisServer,
    connections: usize,
    depth: usize,
    window: Duration,
) -> f64 {
    let nodes = [(); 2].map(|()| ServerProcess::over_redis(&redis.url()));
    let (at, watched) = (nodes[0].addr(), nodes[1].addr());
    let stop = Arc::new(AtomicBool::new(false));
    let came = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    let tasks: Vec<usize> = (0..TASKS).collect();
    for tasks in tasks.chunks(TASKS / connections) {
        let came = Arc::clone(&came);
        let mut watcher = loader::handshake(watched, "/ws");
        for task in tasks {
            watcher.write_all(&subscribe(*task)).unwrap();
        }
        std::thread::spawn(move || {
            count(&mut watcher, b"\"event_type\":\"progress_update\"", |new| {
                came.fetch_add(new.count() as u64, Ordering::Relaxed);
                true
            });
        });
        let mut publisher = loader::handshake(at, "/ws");
        let tasks = tasks.to_vec();
        let stop = Arc::clone(&stop);
        threads.push(std::thread::spawn(move || {
            let requests: Vec<_> = tasks
                .iter()
                .map(|task| loader::request(*task, EVENT_BYTES))
                .collect();
            publisher
                .write_all(&requests.concat().repeat(depth))
                .unwrap();
            let mut writer = publisher.try_clone().unwrap();
            let mut out = Vec::new();
            // Acks arrive in the order of the requests.
            count(&mut publisher, b"\"event_type\":\"ack\"", |new| {
                let go_on = !stop.load(Ordering::Relaxed);
                if go_on {
                    out.clear();
                    new.for_each(|number| out.extend(&requests[number % requests.len()]));
                    writer.write_all(&out).unwrap();
                }
                go_on
            });
        }));
    }
    std::thread::sleep(window / 4);
    let (before, start) = (came.load(Ordering::Relaxed), Instant::now());
    std::thread::sleep(window);
    let rate = (came.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(rate > 0.0, "events came");
    rate
}

fn subscribe(task: usize) -> Vec<u8> {
    let task = loader::task_id(task);
    frames::masked(&format!(
        "{{\"type\":\"subscribe\",\"task_id\":\"{task}\"}}"
    ))
}

/// Reads until `found` returns false. Calls `found` with the numbers, counted from 0, of the
/// occurrences of `text` in one read.
fn count(stream: &mut TcpStream, text: &[u8], mut found: impl FnMut(Range<usize>) -> bool) {
    let mut kept = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let mut number = 0;
    let finder = memchr::memmem::Finder::new(text);
    while let Ok(count) = stream.read(&mut buffer) {
        if count == 0 {
            return;
        }
        kept.extend_from_slice(&buffer[..count]);
        let (before, mut from) = (number, 0);
        for at in finder.find_iter(&kept) {
            from = at + text.len();
            number += 1;
        }
        if number > before && !found(before..number) {
            return;
        }
        // The start of an occurrence may be at the end of the read bytes.
        let rest = kept.len().saturating_sub(text.len() - 1).max(from);
        kept.drain(..rest);
    }
}

fn command(words: &[&str], out: &mut Vec<u8>) {
    write!(out, "*{}\r\n", words.len()).unwrap();
    for word in words {
        write!(out, "${}\r\n{word}\r\n", word.len()).unwrap();
    }
}

/// Runs the pipelined script over one connection, with the same number in flight and with a
/// subscriber.
fn bare(redis: &RedisServer, window: Duration) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut out = Vec::new();
    command(&["SCRIPT", "LOAD", SCRIPT], &mut out);
    stream.write_all(&out).unwrap();
    let mut answer = [0; 256];
    let length = stream.read(&mut answer).unwrap();
    let answer = std::str::from_utf8(&answer[..length]).unwrap();
    let sha = answer.lines().nth(1).expect("a hash").to_owned();
    let channels: Vec<String> = (0..TASKS).map(|task| format!("{{b}}:ev:{task}")).collect();
    let mut subscriber = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    let mut subscribe = vec!["SUBSCRIBE"];
    subscribe.extend(channels.iter().map(String::as_str));
    out.clear();
    command(&subscribe, &mut out);
    subscriber.write_all(&out).unwrap();
    std::thread::spawn(move || count(&mut subscriber, b"{b}", |_| true));

    let json = loader::example_event(EVENT_BYTES);
    let snapshot = format!(
        "{{\"task_id\":\"t\",\"status\":\"running\",\"name\":\"{}\"}}",
        "x".repeat(300)
    );
    let append = |task: usize, offset: u64, out: &mut Vec<u8>| {
        let key = |kind: &str| format!("{{b}}:{kind}:{task}");
        let (meta, log, ids) = (key("task"), key("log"), key("ids"));
        let (offset, task) = (offset.to_string(), task.to_string());
        let channel = key("ev");
        command(
            &[
                "EVALSHA",
                &sha,
                "4",
                &meta,
                &log,
                "{b}:index",
                &ids,
                "e",
                &offset,
                &snapshot,
                &offset,
                "1000",
                "262144",
                "86400000",
                "86400000",
                "f",
                "0",
                "PUBLISH",
                &channel,
                "{b}:new",
                &task,
                "1024",
                "300000",
                "",
                &json,
            ],
            out,
        );
    };
    let mut sent = [0_u64; TASKS];
    let mut next = |number: usize, out: &mut Vec<u8>| {
        let task = number % TASKS;
        sent[task] += 1;
        append(task, sent[task], out);
    };
    out.clear();
    (0..TASKS * DEPTH).for_each(|number| next(number, &mut out));
    stream.write_all(&out).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let (start, mut done) = (Instant::now(), 0);
    // Answers arrive in the order of the commands.
    count(&mut stream, b"$2\r\nok\r\n", |new| {
        done = new.end;
        out.clear();
        new.for_each(|number| next(number, &mut out));
        writer.write_all(&out).unwrap();
        start.elapsed() < window
    });
    done as f64 / start.elapsed().as_secs_f64()
}
