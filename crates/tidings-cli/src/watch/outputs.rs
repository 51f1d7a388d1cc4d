//! Gathers the streamed outputs of agents into lines.

use std::collections::BTreeMap;

use serde_json::Value;
use tidings_client::protocol::{Event, EventType, TaskId};

/// The longest piece of an incomplete line, in bytes.
const LONGEST: usize = 1024;

/// The incomplete lines, one for each output of each task.
#[derive(Debug, Default)]
pub(super) struct Outputs(BTreeMap<TaskId, BTreeMap<String, String>>);

impl Outputs {
    /// Takes an event. Returns the lines that it completes, each with its output. An
    /// event without text completes all lines of its task.
    pub(super) fn take(&mut self, event: &Event) -> Vec<(String, String)> {
        if event.event_type != EventType::OutputDelta {
            let is_quiet = matches!(
                event.event_type,
                EventType::ProgressUpdate | EventType::Log | EventType::AgentStatusChange
            );
            return if is_quiet {
                Vec::new()
            } else {
                self.end(&event.task_id)
            };
        }
        let data = event.data.get();
        let field = |key| data.get(key).and_then(Value::as_str).unwrap_or_default();
        let output = field("output_id").to_owned();
        let pending = self.0.entry(event.task_id.clone()).or_default();
        let pending = pending.entry(output.clone()).or_default();
        pending.push_str(field("text"));
        let mut lines = Vec::new();
        while let Some(end) = pending.find('\n') {
            let line: String = pending.drain(..=end).collect();
            lines.push((output.clone(), line.trim_end().to_owned()));
        }
        if pending.len() > LONGEST {
            lines.push((output, std::mem::take(pending)));
        }
        lines
    }

    /// Returns the incomplete lines of a task.
    pub(super) fn end(&mut self, task: &TaskId) -> Vec<(String, String)> {
        let pending = self.0.remove(task).unwrap_or_default();
        let pending = pending.into_iter();
        pending.filter(|(_, text)| !text.is_empty()).collect()
    }

    /// Returns all incomplete lines.
    pub(super) fn end_all(&mut self) -> Vec<(TaskId, String, String)> {
        let all = std::mem::take(&mut self.0).into_iter();
        let lines = all.flat_map(|(task, outputs)| {
            let lines = outputs.into_iter();
            lines.map(move |(output, text)| (task.clone(), output, text))
        });
        lines.filter(|(.., text)| !text.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: &str, data: &Value) -> Event {
        let event = serde_json::json!({
            "event_type": event_type, "task_id": "t", "offset": 1,
            "timestamp": "2026-11-23T04:45:12.123Z", "data": data,
        });
        serde_json::from_value(event).unwrap()
    }

    fn delta(output: &str, text: &str) -> Event {
        let data = serde_json::json!({"output_id": output, "text": text});
        event("output_delta", &data)
    }

    #[test]
    fn pieces_become_lines_and_the_end_completes_the_last() {
        let mut outputs = Outputs::default();
        let mut lines = Vec::new();
        for event in [
            delta("a", "Hel"),
            delta("b", "other"),
            event("progress_update", &serde_json::json!({"progress": 1})),
            delta("a", "lo\n\nwor"),
            delta("a", "ld"),
            event("task_completed", &serde_json::json!({})),
        ] {
            lines.extend(outputs.take(&event));
        }
        let lines: Vec<_> = lines
            .iter()
            .map(|(output, line)| format!("{output} {line}"))
            .collect();
        assert_eq!(lines, ["a Hello", "a ", "a world", "b other"]);
        assert!(outputs.end_all().is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut outputs = Outputs::default();
        let mut shown = 0;
        for _ in 0..1_000 {
            let lines = outputs.take(&delta("a", "word "));
            shown += lines.iter().map(|(_, line)| line.len()).sum::<usize>();
        }
        assert!(shown > 3_000);
        assert_eq!(outputs.end_all().len(), 1);
    }
}
