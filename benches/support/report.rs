//! Medians, ratios, a table.

use std::collections::BTreeMap;
use std::fmt;

use super::loader::Seen;
use super::process::Cpu;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    deliveries_a_second: f64,
    user_us: f64,
    system_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
}

impl Measured {
    pub(crate) fn new(seen: &Seen, cpu: Cpu) -> Self {
        let deliveries = seen.deliveries as f64;
        Self {
            deliveries_a_second: deliveries / seen.elapsed.as_secs_f64(),
            user_us: cpu.user * 1e6 / deliveries,
            system_us: cpu.system * 1e6 / deliveries,
            p50_ms: seen.latency(0.5),
            p99_ms: seen.latency(0.99),
            p999_ms: seen.latency(0.999),
        }
    }
}

pub(crate) type Field = (&'static str, fn(&Measured) -> f64);

pub(crate) const DELIVERIES: fn(&Measured) -> f64 = |m| m.deliveries_a_second;
pub(crate) const USER: fn(&Measured) -> f64 = |m| m.user_us;
pub(crate) const P50: fn(&Measured) -> f64 = |m| m.p50_ms;
pub(crate) const P99: fn(&Measured) -> f64 = |m| m.p99_ms;

const FIELDS: [Field; 6] = [
    ("deliveries/s", DELIVERIES),
    ("user µs", USER),
    ("system µs", |m| m.system_us),
    ("p50 ms", P50),
    ("p99 ms", P99),
    ("p99.9 ms", |m| m.p999_ms),
];

#[derive(Default)]
pub(crate) struct Report {
    shapes: Vec<String>,
    kinds: Vec<String>,
    measured: BTreeMap<(String, String), Vec<Measured>>,
}

impl Report {
    pub(crate) fn add(&mut self, shape: &str, kind: &str, measured: Measured) {
        if !self.shapes.iter().any(|known| known == shape) {
            self.shapes.push(shape.to_owned());
        }
        if !self.kinds.iter().any(|known| known == kind) {
            self.kinds.push(kind.to_owned());
        }
        self.measured
            .entry((shape.to_owned(), kind.to_owned()))
            .or_default()
            .push(measured);
    }

    /// The median of the rounds; none if it was not measured.
    fn median(&self, shape: &str, kind: &str, field: fn(&Measured) -> f64) -> Option<f64> {
        let rounds = self.measured.get(&(shape.to_owned(), kind.to_owned()))?;
        Some(median(rounds.iter().map(field)))
    }

    /// Of one server to another: the median of the ratios round by round, for
    /// what disturbs one of them most likely disturbs the other as well.
    pub(crate) fn ratio(
        &self,
        shape: &str,
        kind: &str,
        other: &str,
        field: fn(&Measured) -> f64,
    ) -> Option<f64> {
        let of = |kind: &str| self.measured.get(&(shape.to_owned(), kind.to_owned()));
        let pairs = of(kind)?.iter().zip(of(other)?);
        Some(median(pairs.map(|(own, other)| field(own) / field(other))))
    }

    /// Keeps a ratio as a result, if both sides were measured.
    pub(crate) fn record_ratio(
        &self,
        key: &str,
        shape: &str,
        other: &str,
        field: fn(&Measured) -> f64,
    ) {
        if let Some(ratio) = self.ratio(shape, "tidings", other, field) {
            super::results::record(key, ratio);
        }
    }
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shape in &self.shapes {
            writeln!(f, "\n{shape}")?;
            write!(f, "{:<18}", "")?;
            for (name, _) in FIELDS {
                write!(f, "{name:>14}")?;
            }
            writeln!(f)?;
            for kind in &self.kinds {
                if self.median(shape, kind, DELIVERIES).is_none() {
                    continue;
                }
                write!(f, "{kind:<18}")?;
                for (_, field) in FIELDS {
                    let value = self.median(shape, kind, field).unwrap_or(f64::NAN);
                    let digits = if value >= 1_000.0 { 0 } else { 3 };
                    write!(f, "{value:>14.digits$}")?;
                }
                writeln!(f)?;
            }
            for other in self.kinds.iter().filter(|kind| *kind != "tidings") {
                if self.ratio(shape, "tidings", other, DELIVERIES).is_none() {
                    continue;
                }
                write!(f, "{:<18}", format!("tidings / {other}"))?;
                for (_, field) in FIELDS {
                    let ratio = self.ratio(shape, "tidings", other, field);
                    write!(f, "{:>14.2}", ratio.unwrap_or(f64::NAN))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
