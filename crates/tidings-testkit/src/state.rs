//! The promise about state, checked from the messages to one subscriber.
//!
//! A subscriber that folds its messages has the same state as the server, outputs included. This
//! holds however slow or late the subscriber is, and however often it reconnects.

use std::sync::Arc;

use serde_json::Value;
use tidings_protocol::{Event, Fold, ServerMessage, TaskSnapshot};

/// A difference between the folded state and the server's state.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StateViolation {
    /// A field differs from the server's.
    #[error("at {epoch}:{offset} `{field}` is {got} where the server has {expected}")]
    Differs {
        /// The epoch of both states.
        epoch: String,
        /// The offset of both states.
        offset: u64,
        /// The field of the snapshot.
        field: String,
        /// The value in the folded state, shortened.
        got: String,
        /// The value in the server's state, shortened.
        expected: String,
    },
    /// The two states have different offsets.
    #[error("the folded state is at {got}, the server's at {expected}")]
    Elsewhere {
        /// The position of the folded state.
        got: String,
        /// The position of the server's state.
        expected: String,
    },
    /// There is no folded state, because no snapshot arrived.
    #[error("no snapshot came")]
    Nothing,
    /// A message cannot be folded.
    #[error("{cause}: {message}")]
    Unreadable {
        /// The error.
        cause: String,
        /// The message.
        message: String,
    },
    /// An output has a hole, or text was repeated.
    #[error("output `{output}` has {known} bytes where a delta begins at {at}")]
    Output {
        /// The output.
        output: String,
        /// The length of the output so far.
        known: u64,
        /// The place where the delta says that it begins.
        at: u64,
    },
}

/// Folds all messages about one task to one subscriber.
#[derive(Debug, Clone, Default)]
pub struct StateChecker {
    fold: Fold,
}

impl StateChecker {
    /// Returns the folded state.
    pub fn state(&self) -> Option<&Arc<TaskSnapshot>> {
        self.fold.state()
    }

    /// Folds a message in its wire form.
    ///
    /// # Errors
    /// Returns an error if the message cannot be folded, or contradicts earlier messages.
    pub fn text(&mut self, text: &str) -> Result<(), StateViolation> {
        let unreadable = |cause: String| StateViolation::Unreadable {
            cause,
            message: text.chars().take(300).collect(),
        };
        let message = ServerMessage::decode(text).map_err(|error| {
            let source = std::error::Error::source(&error);
            unreadable(source.map_or(error.to_string(), ToString::to_string))
        })?;
        if let ServerMessage::Event(event) = &message {
            return self.event(event);
        }
        self.fold
            .message(&message)
            .map_err(|error| unreadable(error.to_string()))
    }

    /// Folds an event.
    ///
    /// # Errors
    /// Returns the same errors as [`text`](Self::text).
    pub fn event(&mut self, event: &Event) -> Result<(), StateViolation> {
        self.check_output(event)?;
        self.fold
            .event(event)
            .map_err(|error| StateViolation::Unreadable {
                cause: error.to_string(),
                message: event.data.to_string().chars().take(300).collect(),
            })
    }

    /// Folds a snapshot.
    pub fn snapshot(&mut self, snapshot: &Arc<TaskSnapshot>) {
        self.fold.snapshot(Arc::clone(snapshot));
    }

    /// Checks that a delta begins where its output ends. Only a merged delta may begin before.
    fn check_output(&self, event: &Event) -> Result<(), StateViolation> {
        let (Some(at), Some(state)) = (event.at, self.fold.state()) else {
            return Ok(());
        };
        let data = event.data.get();
        let output = data["output_id"].as_str().unwrap_or_default();
        let mut outputs = state.outputs.iter();
        let Some(known) = outputs.find(|known| known.output_id.as_str() == output) else {
            return Ok(());
        };
        let overlaps = event.first_offset() <= state.offset;
        let fits = at == known.length || overlaps && at < known.length;
        if event.offset <= state.offset || fits {
            return Ok(());
        }
        Err(StateViolation::Output {
            output: output.to_owned(),
            known: known.length,
            at,
        })
    }

    /// Compares the folded state with the server's state at the same offset, field by field.
    ///
    /// # Errors
    /// Returns an error if the states differ, or have different offsets.
    pub fn compare(&self, server: &TaskSnapshot) -> Result<(), StateViolation> {
        let state = self.fold.state().ok_or(StateViolation::Nothing)?;
        let place = |state: &TaskSnapshot| format!("{}:{}", state.epoch, state.offset);
        if place(state) != place(server) {
            return Err(StateViolation::Elsewhere {
                got: place(state),
                expected: place(server),
            });
        }
        if **state == *server {
            return Ok(());
        }
        let fields = |state: &TaskSnapshot| serde_json::to_value(state).unwrap_or_default();
        let (got, expected) = (fields(state), fields(server));
        let differs = |(name, value): &(&String, &Value)| got[name.as_str()] != **value;
        let mut all = expected.as_object().into_iter().flatten();
        let (field, expected) = all
            .find(differs)
            .map_or(("?", Value::Null), |(name, value)| (name, value.clone()));
        let short = |value: &Value| {
            let text = value.to_string();
            let mut short: String = text.chars().take(200).collect();
            if short.len() < text.len() {
                short.push_str(&format!("… ({} bytes)", text.len()));
            }
            short
        };
        Err(StateViolation::Differs {
            epoch: state.epoch.to_string(),
            offset: state.offset.get(),
            field: field.to_owned(),
            got: short(&got[field]),
            expected: short(&expected),
        })
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::{Epoch, TaskId};

    use super::*;

    fn event(offset: u64, at: u64, text: &str) -> Event {
        let json = serde_json::json!({
            "event_type": "output_delta", "task_id": "t", "offset": offset, "at": at,
            "timestamp": "2026-11-23T08:59:27.601Z",
            "data": { "output_id": "o", "text": text },
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn holes_repeats_and_differences_are_found() {
        let empty = TaskSnapshot::new(TaskId::new("t").unwrap(), Epoch::new("e").unwrap());
        let mut checker = StateChecker::default();
        assert_eq!(checker.compare(&empty), Err(StateViolation::Nothing));
        checker.snapshot(&Arc::new(empty.clone()));
        checker.compare(&empty).unwrap();
        checker.event(&event(1, 0, "one")).unwrap();
        assert!(matches!(
            checker.compare(&empty),
            Err(StateViolation::Elsewhere { .. })
        ));
        let mut other = StateChecker::default();
        other.snapshot(&Arc::new(empty));
        other.event(&event(1, 0, "two")).unwrap();
        let server = other.state().unwrap();
        assert!(matches!(
            checker.compare(server),
            Err(StateViolation::Differs { field, .. }) if field == "outputs"
        ));
        assert!(checker.event(&event(2, 9, "hole")).is_err());
        assert!(checker.event(&event(2, 1, "twice")).is_err());
        checker.event(&event(2, 3, "and on")).unwrap();
    }
}
