//! Medians, ratios and the table of results.

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

/// A measured quantity.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    name: &'static str,
    of: fn(&Measured) -> f64,
    /// Whether the kernel counts the quantity in ticks of 10 ms. A round of a bare server has only
    /// two or three ticks of user time. Therefore such rounds are summed up, and others use their
    /// median.
    ticks: bool,
}

impl Field {
    const fn new(name: &'static str, of: fn(&Measured) -> f64) -> Self {
        let ticks = false;
        Self { name, of, ticks }
    }

    const fn in_ticks(name: &'static str, of: fn(&Measured) -> f64) -> Self {
        let ticks = true;
        Self { name, of, ticks }
    }

    pub(crate) fn of(&self, measured: &Measured) -> f64 {
        (self.of)(measured)
    }
}

pub(crate) const DELIVERIES: Field = Field::new("deliveries/s", |m| m.deliveries_a_second);
pub(crate) const USER: Field = Field::in_ticks("user µs", |m| m.user_us);
const SYSTEM: Field = Field::in_ticks("system µs", |m| m.system_us);
pub(crate) const P50: Field = Field::new("p50 ms", |m| m.p50_ms);
pub(crate) const P99: Field = Field::new("p99 ms", |m| m.p99_ms);
const P999: Field = Field::new("p99.9 ms", |m| m.p999_ms);

const FIELDS: [Field; 6] = [DELIVERIES, USER, SYSTEM, P50, P99, P999];

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

    /// Returns the value of each round, or `None` if it was not measured.
    fn rounds(&self, shape: &str, kind: &str, field: Field) -> Option<Vec<f64>> {
        let rounds = self.measured.get(&(shape.to_owned(), kind.to_owned()))?;
        Some(rounds.iter().map(|round| field.of(round)).collect())
    }

    /// Returns the result of all rounds, or `None` if it was not measured.
    fn value(&self, shape: &str, kind: &str, field: Field) -> Option<f64> {
        let rounds = self.rounds(shape, kind, field)?;
        Some(if field.ticks {
            rounds.iter().sum::<f64>() / rounds.len() as f64
        } else {
            median(rounds.into_iter())
        })
    }

    /// Returns the ratio of one server to another: the median of the ratios round by round, because
    /// a disturbance usually affects both. Returns `None` if one of them was not measured, or is
    /// zero.
    fn ratio(&self, shape: &str, kind: &str, other: &str, field: Field) -> Option<f64> {
        let ratio = if field.ticks {
            self.value(shape, kind, field)? / self.value(shape, other, field)?
        } else {
            let own = self.rounds(shape, kind, field)?.into_iter();
            let pairs = own.zip(self.rounds(shape, other, field)?);
            median(pairs.map(|(own, other)| own / other))
        };
        ratio.is_finite().then_some(ratio)
    }

    /// Records a ratio as a result, if both sides were measured.
    pub(crate) fn record_ratio(&self, key: &str, shape: &str, other: &str, field: Field) {
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
            for field in FIELDS {
                write!(f, "{:>14}", field.name)?;
            }
            writeln!(f)?;
            for kind in &self.kinds {
                if self.value(shape, kind, DELIVERIES).is_none() {
                    continue;
                }
                write!(f, "{kind:<18}")?;
                for field in FIELDS {
                    let value = self.value(shape, kind, field).unwrap_or(f64::NAN);
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
                for field in FIELDS {
                    match self.ratio(shape, "tidings", other, field) {
                        Some(ratio) => write!(f, "{ratio:>14.2}")?,
                        None => write!(f, "{:>14}", "-")?,
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
