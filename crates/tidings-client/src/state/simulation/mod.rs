//! A seeded simulation that checks the invariant through clients, under all faults at
//! once.
//!
//! Each client is the state machine alone. Servers are the real bus and the real
//! connections. The seed decides what the network between them does. It delays messages
//! and breaks connections, in one direction or both. Programs take their updates late,
//! watch and stop watching, and publish across losses. Servers restart with and without
//! their memory.
//!
//! Tokens expire, and token sources fail or stay silent. No client shows a refused
//! token again.
//!
//! Programs also perform tasks and compete for them: they begin, report and end tasks,
//! or drop them.
//!
//! Each update of each watch is checked. At the end, every watch has reached the head
//! of every log with the right state. Every publish has had one answer, and no log
//! contains an event twice. In the log of a performed task, all reports of a run come
//! from the worker that started it, in order and once.
//!
//! A failing seed is printed. Replay it with `TIDINGS_SEED=<seed>`, and add
//! `TIDINGS_TRACE=1` to see each step. `TIDINGS_SEEDS=<count>` sets the number of
//! seeds.

#![allow(
    clippy::print_stderr,
    reason = "a seed tells its story when it is asked to"
)]

mod checks;
mod client;
mod server;
mod watches;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tidings_bus::{BusConfig, EventBus, LogLimits, SkipPolicy};
use tidings_connections::{
    Access, CloseReason, ConnectRequest, Connection, ConnectionGuard, ConnectionManager,
    ConnectionsConfig,
};
use tidings_protocol::{
    Data, Epoch, EventId, EventType, NewEvent, Position, ServerMessage, Since, Target, TaskError,
    TaskId,
};
use tidings_testkit::{
    Checker, LINES, LineReader, LineWire, PipeSocket, StateChecker, connect, simulate_seeds,
};
use tokio::time::Instant;

use checks::finish;
use client::{Client, JOBS};
use server::{Ledger, Net, Node, drive, manager};
use watches::SimWatch;

use super::{Beginning, Input, JobId, Output, RequestId, State, WatchId};
use crate::config::ClientConfig;
use crate::error::Loss;
use crate::update::{Start, Update};

/// The number of seeds in CI. Each seed runs `STEPS` steps.
const SEEDS: u64 = 1_000;
const STEPS: usize = 80;
const CLIENTS: usize = 3;
const TASKS: [&str; 4] = ["a-1", "a-2", "b-1", "c"];
const PATTERNS: [&str; 3] = ["a-*", "*", "b-*"];

fn trace(line: impl FnOnce() -> String) {
    if std::env::var_os("TIDINGS_TRACE").is_some() {
        eprintln!("{}", line());
    }
}

fn random_event(rng: &mut Rng) -> NewEvent {
    match rng.u8(..17) {
        0 => NewEvent::task_started("t"),
        1 => NewEvent::task_completed(None),
        2 => NewEvent::task_failed(TaskError::new("broken")),
        3..=8 => NewEvent::progress(f64::from(rng.u8(..101)), "working"),
        9..=11 => NewEvent::log("x".repeat(rng.usize(..300))),
        12 => NewEvent::output_delta("o", "word "),
        13 => NewEvent::log(client::LARGE.as_str()),
        _ => NewEvent::new("custom".parse::<EventType>().unwrap(), Data::empty()),
    }
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn simulate(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let limits = LogLimits {
        max_events: [rng.u64(1..40), 10_000][rng.usize(..2)],
        max_bytes: 1 << rng.u32(12..22),
    };
    let skip = SkipPolicy::behind([1, 8, u64::MAX][rng.usize(..3)]);
    let mut ledger = Ledger::default();
    let mut node = Node::new(limits, skip);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|number| Client::new(number, &mut rng, &ledger))
        .collect();
    for client in &mut clients {
        client.outputs(&mut ledger);
        client.watch(&mut rng, &mut ledger);
    }
    for _ in 0..STEPS {
        let client = &mut clients[rng.usize(..CLIENTS)];
        client.tick(&mut ledger);
        match rng.u8(..40) {
            0..=3 => client.publish(&mut rng, &mut ledger),
            4..=6 => client.work(&mut rng, &mut ledger),
            7..=13 => client.deliver([1, 3, usize::MAX][rng.usize(..3)]).await,
            14..=19 => {
                let count = [1, 50, 500, usize::MAX][rng.usize(..4)];
                client.receive(count, &mut ledger);
            }
            20..=22 => settle().await,
            23..=25 => client.connect(&node, &mut rng, &mut ledger),
            26..=28 => {
                client.take([1, 5, usize::MAX][rng.usize(..3)], &mut ledger);
            }
            29 => client.watch(&mut rng, &mut ledger),
            30 => client.refresh(&mut rng, &mut ledger),
            31..=32 => client.cut(rng.u8(..3) > 0, &mut ledger).await,
            33..=36 => {
                let pause = [10, 300, 3_000, 20_000][rng.usize(..4)];
                tokio::time::advance(Duration::from_millis(rng.u64(..pause))).await;
            }
            37 => {
                let task = TaskId::new([TASKS.as_slice(), &JOBS].concat()[rng.usize(..6)]).unwrap();
                trace(|| format!("{task} is removed"));
                node.bus.remove(&task).await.unwrap();
            }
            38 => {
                trace(|| "the server restarts, its memory lives".to_owned());
                for client in &mut clients {
                    client.cut(rng.bool(), &mut ledger).await;
                }
                node.manager = manager(&node.bus, node.skip);
            }
            _ if rng.bool() => {
                trace(|| "the token is over".to_owned());
                ledger.token += 1;
                for client in &mut clients {
                    if rng.bool() && client.shown != Some(ledger.token()) {
                        client.expire(&mut ledger).await;
                    }
                }
            }
            _ => {
                trace(|| "the server restarts without its memory".to_owned());
                for client in &mut clients {
                    client.cut(rng.bool(), &mut ledger).await;
                }
                node.bus.shutdown().await;
                node = Node::new(node.limits, node.skip);
            }
        }
    }
    finish(&node, &mut clients, &mut rng, &mut ledger).await;
    node.bus.shutdown().await;
}

#[test]
fn invariant_holds_through_clients_first_half() {
    simulate_seeds(0, 2, SEEDS, simulate);
}

#[test]
fn invariant_holds_through_clients_second_half() {
    simulate_seeds(1, 2, SEEDS, simulate);
}
