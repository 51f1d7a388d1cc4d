//! Prints updates as lines of text, for pipes and files.

use serde_json::Value;
use tidings_client::protocol::{Event, EventType, Gap, GapReason, ResetReason, TaskSnapshot};
use tidings_client::{Loss, Update};

use super::outputs::Outputs;
use super::states::States;
use super::{View, percent};
use crate::Failure;
use crate::connect::away_message;
use crate::output::{print, say};

pub(super) struct Lines {
    url: String,
    away: bool,
    outputs: Outputs,
}

impl Lines {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            away: false,
            outputs: Outputs::default(),
        }
    }

    /// Prints a loss once, even if the client tries several times.
    fn lost(&mut self, loss: &Loss) {
        if !std::mem::replace(&mut self.away, true) {
            say(&away_message(&self.url, loss));
        }
    }
}

impl View for Lines {
    fn show(&mut self, update: &Update, _: &States) -> Result<(), Failure> {
        match update {
            Update::Snapshot(state) => print(&format!("{} {}", state.task_id, summary(state)))?,
            Update::Event(event) => {
                for (output, text) in self.outputs.take(event) {
                    print(&format!("{} {output} │ {text}", event.task_id))?;
                }
                if event.event_type != EventType::OutputDelta {
                    lines(event).iter().try_for_each(|line| print(line))?;
                }
            }
            Update::Gap { task_id, gap, .. } => print(&format!("{task_id} {}", missing(gap)))?,
            Update::Reset {
                task_id, reason, ..
            } => print(&format!("{task_id} {}", started_over(*reason)))?,
            Update::Removed { task_id } => print(&format!("{task_id} was removed"))?,
            Update::Disconnected { loss, .. } => self.lost(loss),
            Update::Reconnected => {
                self.away = false;
                say("connected");
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let begun = self.outputs.end_all().into_iter();
        begun
            .map(|(task, output, text)| format!("{task} {output} │ {text}"))
            .try_for_each(|line| print(&line))
    }
}

/// Returns a short summary of a task's state.
pub(super) fn summary(state: &TaskSnapshot) -> String {
    let mut text = format!("is {}", state.status);
    for part in [
        state.progress.map(percent),
        state.message.clone(),
        state.error.as_ref().map(|error| format!("error: {error}")),
        state.stalled.then(|| "stalled".to_owned()),
    ]
    .into_iter()
    .flatten()
    {
        text.push_str(", ");
        text.push_str(&part);
    }
    text
}

pub(crate) fn missing(gap: &Gap) -> String {
    let reason = match gap.reason {
        GapReason::Expired => "no longer retained",
        GapReason::Overrun => "slower than retention",
        GapReason::Conflated => "log lines that were skipped",
    };
    match gap.count() {
        1 => format!("event {} is missing: {reason}", gap.from),
        _ => format!("events {} to {} are missing: {reason}", gap.from, gap.to),
    }
}

pub(crate) fn started_over(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::EpochChanged => "the log has started over",
        ResetReason::Removed => "the task was removed",
        ResetReason::Ahead => "the position was ahead of the log",
    }
}

/// Returns an event as lines, such as `build-1 progress_update 40 % linking`. A log event has one
/// line for each line of its message.
pub(super) fn lines(event: &Event) -> Vec<String> {
    let words = words(event);
    let line = |words: &str| {
        let line = format!("{} {} {words}", event.task_id, event.event_type);
        line.trim_end().to_owned()
    };
    match event.event_type {
        EventType::Log => words.split('\n').map(line).collect(),
        _ => vec![line(&words)],
    }
}

/// Returns the data of an event. If the data is only a text, returns the text alone.
pub(super) fn words(event: &Event) -> String {
    let data = event.data.get();
    let text = |key: &str| data.get(key).and_then(Value::as_str).map(trimmed);
    match event.event_type {
        EventType::ProgressUpdate => {
            let done = match (data.get("progress"), data.get("current"), data.get("total")) {
                (Some(progress), ..) => progress.as_f64().map(percent),
                (None, Some(current), Some(total)) => Some(format!("{current}/{total}")),
                (None, Some(current), None) => Some(current.to_string()),
                (None, None, _) => None,
            };
            let parts = [done, text("stage"), text("message")];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        EventType::TaskStarted => text("name").unwrap_or_default(),
        EventType::Log => text("message").unwrap_or_default(),
        EventType::OutputDelta => text("text").unwrap_or_default(),
        _ if data.is_empty() => String::new(),
        _ => event.data.as_str().to_owned(),
    }
}

fn trimmed(text: &str) -> String {
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean;

    fn event(event_type: &str, data: &Value) -> Event {
        let event = serde_json::json!({
            "event_type": event_type, "task_id": "t", "offset": 1,
            "timestamp": "2026-11-23T04:45:12.123Z", "data": data,
        });
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn lines_say_what_matters() {
        for (event_type, data, expected) in [
            (
                "progress_update",
                serde_json::json!({"progress": 40.25, "message": "linking"}),
                "t progress_update 40.3 % linking",
            ),
            (
                "progress_update",
                serde_json::json!({"current": 3, "total": 12}),
                "t progress_update 3/12",
            ),
            (
                "task_started",
                serde_json::json!({"name": "Build"}),
                "t task_started Build",
            ),
            ("task_completed", serde_json::json!({}), "t task_completed"),
            (
                "log",
                serde_json::json!({"message": "a\n\n\u{1b}[2Jb\n"}),
                "t log a|t log|t log ·[2Jb",
            ),
            (
                "task_failed",
                serde_json::json!({"error": "no"}),
                "t task_failed {\"error\":\"no\"}",
            ),
        ] {
            assert_eq!(clean(&lines(&event(event_type, &data)).join("|")), expected);
        }
    }
}
