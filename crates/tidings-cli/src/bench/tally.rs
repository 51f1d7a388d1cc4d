//! Counts events, measures latencies and formats both.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::Instant;

/// The longest latency that the histogram distinguishes.
const LONGEST: Duration = Duration::from_secs(60);

/// All counts of a run so far.
pub(crate) struct Tally {
    connections: usize,
    tasks: usize,
    /// Publishes that the server has accepted.
    accepted: u64,
    /// Publishes that the server has refused, and its message about the first one.
    refused: u64,
    refusal: Option<String>,
    /// Deliveries that the accepted publishes require.
    due: u64,
    deliveries: u64,
    /// Deliveries that a gap has announced as missing.
    told: u64,
    /// Latencies in microseconds: of the whole measurement, and since the last line.
    latency: Histogram<u64>,
    recent: Histogram<u64>,
    /// The number of deliveries at the last line.
    before: u64,
    line: Instant,
    started: Instant,
    /// The length of the measurement, and the deliveries within it.
    measured: (Duration, u64),
}

impl Default for Tally {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

fn histogram() -> Histogram<u64> {
    let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
    // Two digits are enough: latencies differ by more than one per cent between runs.
    Histogram::new_with_bounds(1, longest, 2).expect("the bounds are in order")
}

fn millis(latency: &Histogram<u64>, quantile: f64) -> f64 {
    // A float holds microseconds below a minute exactly.
    #[allow(clippy::cast_precision_loss, reason = "see above")]
    let micros = latency.value_at_quantile(quantile) as f64;
    micros / 1_000.0
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
}

impl Tally {
    pub(crate) fn new(connections: usize, tasks: usize) -> Self {
        let now = Instant::now();
        Self {
            connections,
            tasks,
            accepted: 0,
            refused: 0,
            refusal: None,
            due: 0,
            deliveries: 0,
            told: 0,
            latency: histogram(),
            recent: histogram(),
            before: 0,
            line: now,
            started: now,
            measured: (Duration::ZERO, 0),
        }
    }

    pub(crate) fn start(&mut self) {
        self.started = Instant::now();
        self.line = self.started;
    }

    pub(crate) fn stop(&mut self) {
        self.measured = (self.started.elapsed(), self.deliveries);
    }

    /// Counts a publish that has to reach this number of watchers.
    pub(crate) fn published(&mut self, watchers: u64) {
        self.due += watchers;
    }

    pub(crate) fn accepted(&mut self) {
        self.accepted += 1;
    }

    pub(crate) fn refused(&mut self, watchers: u64, why: &str) {
        self.refused += 1;
        self.due -= watchers;
        self.refusal.get_or_insert_with(|| why.to_owned());
    }

    pub(crate) fn delivered(&mut self, latency: Duration) {
        self.deliveries += 1;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(micros);
        self.recent.saturating_record(micros);
    }

    pub(crate) fn told_of_gap(&mut self, events: u64) {
        self.told += events;
    }

    /// Returns the number of deliveries that are still missing.
    pub(crate) fn missing(&self) -> u64 {
        self.due.saturating_sub(self.deliveries + self.told)
    }

    /// Returns a line about the deliveries since the last line.
    pub(crate) fn progress(&mut self) -> String {
        let line = format!(
            "{:>4.0} s {:>12.0} deliveries/s   p50 {:>8.2} ms   p99 {:>8.2} ms",
            self.started.elapsed().as_secs_f64(),
            rate(self.deliveries - self.before, self.line.elapsed()),
            millis(&self.recent, 0.5),
            millis(&self.recent, 0.99),
        );
        self.before = self.deliveries;
        self.line = Instant::now();
        self.recent.reset();
        line
    }

    pub(crate) fn json(&self) -> Value {
        let (time, deliveries) = self.measured;
        json!({
            "connections": self.connections,
            "tasks": self.tasks,
            "seconds": time.as_secs_f64(),
            "published": self.accepted,
            "refused": self.refused,
            "refusal": self.refusal,
            "deliveries": deliveries,
            "deliveries_per_second": rate(deliveries, time),
            "told_of_in_gaps": self.told,
            "latency_ms": {
                "p50": millis(&self.latency, 0.5),
                "p99": millis(&self.latency, 0.99),
                "p99_9": millis(&self.latency, 0.999),
                "max": millis(&self.latency, 1.0),
            },
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, deliveries) = self.measured;
        writeln!(f, "connections        {:>14}", self.connections)?;
        writeln!(f, "tasks              {:>14}", self.tasks)?;
        writeln!(f, "published          {:>14}", self.accepted)?;
        if let Some(refusal) = &self.refusal {
            writeln!(f, "refused            {:>14}   {refusal}", self.refused)?;
        }
        writeln!(f, "deliveries         {deliveries:>14}")?;
        writeln!(f, "deliveries/s       {:>14.0}", rate(deliveries, time))?;
        if self.told > 0 {
            writeln!(f, "told of in gaps    {:>14}", self.told)?;
        }
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            let latency = millis(&self.latency, quantile);
            writeln!(f, "latency {name:<10} {latency:>14.2} ms")?;
        }
        write!(
            f,
            "every offset came once and in order, or a gap said which would not"
        )
    }
}
