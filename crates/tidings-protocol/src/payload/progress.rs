//! The payload about a task's progress.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Broken, Check, check_amount};
use crate::Data;

/// The rule for an update that has neither `progress` nor `current`.
const MISSING: &str = "given, or `current`";

/// The rule for an update with `"progress":null`.
const NULL: &str =
    "a number from 0 to 100, not null (NaN and infinity have no JSON and are written as null)";

/// The rule for an update whose only field is `"current":null`.
const NULL_AMOUNT: &str =
    "a finite number, not null (NaN and infinity have no JSON and are written as null)";

/// Data of `progress_update`. It has `progress`, `current`, or both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("anyOf" = [{ "required": ["progress"] }, { "required": ["current"] }]))
)]
#[non_exhaustive]
pub struct ProgressUpdate {
    /// The progress in per cent, 0–100.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// The amount of work done, in the unit of `total`.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<f64>,
    /// The whole amount of work. If left out, the amount from `task_started` holds.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// A text for people about the task's current work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The stage of the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

impl ProgressUpdate {
    /// Returns the progress in per cent: as given, or computed from `current` and a total. The
    /// update's own total takes precedence over `known`, the total from earlier events.
    ///
    /// Returns `None` if the progress cannot be computed.
    pub fn percent(&self, known: Option<f64>) -> Option<f64> {
        if self.progress.is_some() {
            return self.progress;
        }
        let total = self.total.or(known).filter(|total| *total > 0.0)?;
        let current = self.current?;
        let percent = (current / total * 100.0).clamp(0.0, 100.0);
        // Nine decimals leave out what division adds: 22 of 40 gives 55, not 55.00000000000001.
        Some((percent * 1e9).round() / 1e9)
    }
}

impl Check for ProgressUpdate {
    fn check(&self) -> Result<(), Broken> {
        match self.progress {
            // This form of the condition also refuses NaN.
            Some(progress) if !(0.0..=100.0).contains(&progress) => {
                return Err(Broken {
                    field: "progress",
                    expected: "a number from 0 to 100",
                });
            }
            None if self.current.is_none() => {
                return Err(Broken {
                    field: "progress",
                    expected: MISSING,
                });
            }
            _ => {}
        }
        check_amount("current", self.current)?;
        check_amount("total", self.total)
    }

    fn explain(broken: Broken, data: &Data) -> Broken {
        let is_null = |field| data.get().get(field).is_some_and(Value::is_null);
        if broken.expected == MISSING && is_null("progress") {
            return Broken {
                expected: NULL,
                ..broken
            };
        }
        if broken.expected == MISSING && is_null("current") {
            return Broken {
                field: "current",
                expected: NULL_AMOUNT,
            };
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cent_come_from_what_there_is() {
        let update = |progress, current, total| ProgressUpdate {
            progress,
            current,
            total,
            ..ProgressUpdate::default()
        };
        let cases = [
            (update(Some(7.0), Some(1.0), Some(2.0)), None, Some(7.0)),
            (update(None, Some(1.0), Some(2.0)), Some(10.0), Some(50.0)),
            (update(None, Some(1.0), None), Some(10.0), Some(10.0)),
            (update(None, Some(30.0), None), Some(10.0), Some(100.0)),
            (update(None, Some(22.0), Some(40.0)), None, Some(55.0)),
            (update(None, Some(0.29), Some(1.0)), None, Some(29.0)),
            (
                update(
                    None,
                    Some(1.234_567_890_123_456_8e29),
                    Some(1.234_567_890_123_456_8e29),
                ),
                None,
                Some(100.0),
            ),
            (
                update(None, Some(f64::MAX / 2.0), Some(f64::MAX)),
                None,
                Some(50.0),
            ),
            (update(None, Some(1.0), None), None, None),
            (update(None, Some(0.0), Some(0.0)), None, None),
            (
                update(None, Some(f64::MAX), Some(f64::MIN_POSITIVE)),
                None,
                Some(100.0),
            ),
        ];
        for (update, known, expected) in cases {
            assert_eq!(update.percent(known), expected, "{update:?} of {known:?}");
        }
    }
}
