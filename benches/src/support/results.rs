//! Results and targets. Results are kept from bench to bench, so that the last bench can print one
//! table.
//!
//! They are stored next to Criterion's results, in `target/tidings-bench/`. As with Criterion,
//! `--save-baseline NAME` keeps a copy under that name, and `--baseline NAME` compares with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::Args;

/// A target: a limit for a ratio within one run, or for a number of bytes.
struct Target {
    key: &'static str,
    what: &'static str,
    limit: Limit,
}

enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

use Limit::{AtLeast, AtMost};

const TARGETS: &[Target] = &[
    Target {
        key: "fanout_1_to_bare",
        what: "fan-out 1 to 1,000, 1 in flight: deliveries/s to bare writes",
        limit: AtLeast(0.95),
    },
    Target {
        key: "fanout_4_to_bare",
        what: "4 in flight: deliveries/s to bare writes",
        limit: AtLeast(4.5),
    },
    Target {
        key: "fanout_4_p50_to_bare",
        what: "4 in flight: p50 latency to bare writes",
        limit: AtMost(0.3),
    },
    Target {
        key: "fanout_64_to_axum",
        what: "64 in flight: deliveries/s to axum + broadcast",
        limit: AtLeast(25.0),
    },
    Target {
        key: "many_tasks_to_axum",
        what: "1,000 tasks x 1 watcher: deliveries/s to axum + broadcast",
        limit: AtLeast(3.0),
    },
    Target {
        // axum answers nothing. The answers are a third system call, so less is expected.
        key: "many_tasks_answered_to_axum",
        what: "the same, each publish answered",
        limit: AtLeast(2.5),
    },
    Target {
        key: "user_to_bare",
        what: "1 in flight: user-space CPU a delivery to bare writes",
        limit: AtMost(3.0),
    },
    Target {
        key: "cores_two_to_one",
        what: "one task's 1,000 watchers of 5 µs: two workers to one",
        limit: AtLeast(1.85),
    },
    Target {
        key: "idle_kib",
        what: "resident memory an idle watcher at 15,000, after heartbeats, KiB",
        limit: AtMost(1.0),
    },
    Target {
        key: "away_bytes",
        what: "memory of an away, resumable client, bytes",
        limit: AtMost(512.0),
    },
    Target {
        key: "behind_bytes",
        what: "a connection 1,000 events behind, beyond an idle one, bytes",
        limit: AtMost(64.0),
    },
    Target {
        key: "handshake_to_hyper",
        what: "server CPU a handshake, to a bare hyper upgrade",
        limit: AtMost(1.1),
    },
    Target {
        key: "storm_own_to_hyper",
        what: "10,000 reconnects, a task each: time to the last, to bare upgrades",
        limit: AtMost(1.2),
    },
    Target {
        key: "storm_one_to_hyper",
        what: "10,000 reconnects to one task: time to the last, to bare upgrades",
        limit: AtMost(1.2),
    },
    Target {
        key: "http_1_to_axum",
        what: "HTTP publish, 1 event a request: events/s to an axum handler",
        limit: AtLeast(0.8),
    },
    Target {
        key: "http_10_to_axum",
        what: "10 events a request: events/s to an axum handler",
        limit: AtLeast(0.8),
    },
    Target {
        key: "http_100_to_axum",
        what: "100 events a request: events/s to an axum handler",
        limit: AtLeast(0.8),
    },
    Target {
        key: "paced_p99_to_bare",
        what: "p99 latency at 50 publishes/s to 1,000 watchers, to bare writes",
        limit: AtMost(1.15),
    },
    Target {
        key: "flood_p99_to_calm",
        what: "others' p99 while one subject floods publishes, to calm",
        limit: AtMost(2.0),
    },
    Target {
        key: "flood_connections_p99_to_calm",
        what: "others' p99 while one subject floods connections, to calm",
        limit: AtMost(2.0),
    },
    Target {
        key: "publish_8_to_broadcast",
        what: "in-process publish with 8 subscribers, to tokio::sync::broadcast",
        limit: AtLeast(1.0),
    },
    Target {
        key: "store_interval_fanout_to_memory",
        what: "fan-out with --sync interval:50: deliveries/s to memory",
        limit: AtLeast(0.9),
    },
    Target {
        key: "disk_interval_to_memory",
        what: "256 HTTP publishers, interval: events/s to memory",
        limit: AtLeast(0.85),
    },
    Target {
        key: "disk_every_commit_to_plain",
        what: "256 HTTP publishers, every-commit: events/s to a plain server that appends and syncs",
        limit: AtLeast(0.7),
    },
    Target {
        key: "store_group_256_to_1",
        what: "every-commit: publishes/s of 256 publishers to one, a task each",
        limit: AtLeast(20.0),
    },
    Target {
        key: "store_group_256_in_one_to_1",
        what: "every-commit: publishes/s of 256 publishers of one task to one",
        limit: AtLeast(20.0),
    },
    Target {
        key: "store_start_to_engine",
        what: "start with 1,000,000 events in 10,000 tasks: to the engine's own open",
        limit: AtMost(2.0),
    },
    Target {
        key: "redis_events_to_bare",
        what: "two nodes over Redis: events/s to the same script, pipelined",
        limit: AtLeast(0.8),
    },
    Target {
        key: "redis_fanout_to_memory",
        what: "a node over Redis: CPU a delivery in memory to its own",
        limit: AtLeast(0.95),
    },
];

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    value: f64,
    /// The time of the result, in seconds since 1970.
    at: u64,
}

type Results = BTreeMap<String, Stored>;

/// Returns the directory in which benches keep their files, including plots.
pub(crate) fn directory() -> PathBuf {
    // target/<profile>/benches
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(2).expect("it lies in target/");
    let dir = target.join("tidings-bench");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn path(baseline: Option<&str>) -> PathBuf {
    directory().join(format!("{}.json", baseline.unwrap_or("latest")))
}

fn load(baseline: Option<&str>) -> Results {
    let text = std::fs::read_to_string(path(baseline)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn store(baseline: Option<&str>, key: &str, stored: &Stored) {
    let mut results = load(baseline);
    results.insert(key.to_owned(), stored.clone());
    let text = serde_json::to_string_pretty(&results).unwrap();
    std::fs::write(path(baseline), text).unwrap();
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// Records a result, and prints how it compares with its target.
pub(crate) fn record(key: &str, value: f64) {
    let target = TARGETS
        .iter()
        .find(|target| target.key == key)
        .expect("every result that is recorded has its target");
    let stored = Stored { value, at: now() };
    store(None, key, &stored);
    if let Some(name) = Args::value("--save-baseline") {
        store(Some(&name), key, &stored);
    }
    let before = Args::value("--baseline").and_then(|name| load(Some(&name)).remove(key));
    let change = before.map_or_else(String::new, |before| {
        format!(
            " ({:+.1} % to the baseline)",
            (value / before.value - 1.0) * 100.0
        )
    });
    println!(
        "{}: {value:.3}, {}{change}",
        target.what,
        target.verdict(value)
    );
}

impl Target {
    fn holds(&self, value: f64) -> bool {
        match self.limit {
            AtLeast(limit) => value >= limit,
            AtMost(limit) => value <= limit,
        }
    }

    fn limit(&self) -> String {
        match self.limit {
            AtLeast(limit) => format!("\u{2265} {limit}"),
            AtMost(limit) => format!("\u{2264} {limit}"),
        }
    }

    fn verdict(&self, value: f64) -> String {
        let (AtLeast(limit) | AtMost(limit)) = self.limit;
        if self.holds(value) {
            return format!("holds {}", self.limit());
        }
        let by = (value / limit - 1.0).abs() * 100.0;
        format!("misses {} by {by:.0} %", self.limit())
    }
}

/// Returns the table of all results against their targets.
pub(crate) fn table() -> String {
    let results = load(None);
    let mut text = format!("{:<70}{:>10}  verdict\n", "what", "measured");
    for target in TARGETS {
        let line = match results.get(target.key) {
            Some(stored) => {
                let minutes = now().saturating_sub(stored.at) / 60;
                let old = if minutes > 20 {
                    format!(" ({minutes} minutes ago)")
                } else {
                    String::new()
                };
                let verdict = target.verdict(stored.value);
                format!(
                    "{:<70}{:>10.2}  {verdict}{old}\n",
                    target.what, stored.value
                )
            }
            None => format!("{:<70}{:>10}  {}\n", target.what, "-", target.limit()),
        };
        text.push_str(&line);
    }
    text
}
