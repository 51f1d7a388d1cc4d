//! How far a task is.

use serde::{Deserialize, Serialize};

use super::{Broken, Check, check_amount};

/// Data of `progress_update`: `progress` or `current`, or both.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(schemars::JsonSchema),
    schemars(extend("anyOf" = [{ "required": ["progress"] }, { "required": ["current"] }]))
)]
#[non_exhaustive]
pub struct ProgressUpdate {
    /// Per cent, 0–100.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 100)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// How much is done, in the unit of `total`.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<f64>,
    /// How much there is to do; else as `task_started` said.
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// What is being done, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The part of the work that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

impl ProgressUpdate {
    /// How far the task is in per cent: as given, or from `current` and a total,
    /// the update's own before the one that is `known` from before.
    ///
    /// None if neither tells.
    pub fn percent(&self, known: Option<f64>) -> Option<f64> {
        if self.progress.is_some() {
            return self.progress;
        }
        let total = self.total.or(known).filter(|total| *total > 0.0)?;
        Some((self.current? / total * 100.0).clamp(0.0, 100.0))
    }
}

impl Check for ProgressUpdate {
    fn check(&self) -> Result<(), Broken> {
        match self.progress {
            // Written so that it also refuses what is no number.
            Some(progress) if !(0.0..=100.0).contains(&progress) => {
                return Err(Broken {
                    field: "progress",
                    expected: "a number from 0 to 100",
                });
            }
            None if self.current.is_none() => {
                return Err(Broken {
                    field: "progress",
                    expected: "given, or `current`",
                });
            }
            _ => {}
        }
        check_amount("current", self.current)?;
        check_amount("total", self.total)
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
