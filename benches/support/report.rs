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

type Field = (&'static str, fn(&Measured) -> f64);

const FIELDS: [Field; 6] = [
    ("deliveries/s", |m| m.deliveries_a_second),
    ("user µs", |m| m.user_us),
    ("system µs", |m| m.system_us),
    ("p50 ms", |m| m.p50_ms),
    ("p99 ms", |m| m.p99_ms),
    ("p99.9 ms", |m| m.p999_ms),
];

#[derive(Default)]
pub(crate) struct Report {
    shapes: Vec<String>,
    measured: BTreeMap<(String, String), Vec<Measured>>,
}

impl Report {
    pub(crate) fn add(&mut self, shape: &str, kind: &str, measured: Measured) {
        if !self.shapes.iter().any(|known| known == shape) {
            self.shapes.push(shape.to_owned());
        }
        self.measured
            .entry((shape.to_owned(), kind.to_owned()))
            .or_default()
            .push(measured);
    }

    fn median(&self, shape: &str, kind: &str, field: fn(&Measured) -> f64) -> f64 {
        let rounds = &self.measured[&(shape.to_owned(), kind.to_owned())];
        let mut values: Vec<f64> = rounds.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
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
            for kind in super::servers::KINDS {
                write!(f, "{kind:<18}")?;
                for (_, field) in FIELDS {
                    let value = self.median(shape, kind, field);
                    let digits = if value >= 1_000.0 { 0 } else { 3 };
                    write!(f, "{value:>14.digits$}")?;
                }
                writeln!(f)?;
            }
            for other in super::servers::KINDS
                .iter()
                .filter(|kind| **kind != "tidings")
            {
                write!(f, "{:<18}", format!("tidings / {other}"))?;
                for (_, field) in FIELDS {
                    let ratio =
                        self.median(shape, "tidings", field) / self.median(shape, other, field);
                    write!(f, "{ratio:>14.2}")?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
