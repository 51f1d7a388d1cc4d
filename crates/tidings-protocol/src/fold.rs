//! Folding: computing a task's state from the messages that a subscriber receives.

use std::sync::Arc;

use crate::{ControlMessage, Event, InvalidEvent, Payload, ServerMessage, TaskSnapshot};

/// Computes a task's state from the messages that a subscriber receives about it.
///
/// A snapshot replaces the state. An event above the state's offset is applied to the state. An
/// event at or below that offset is ignored, because the state already contains it. At each offset
/// the result equals the server's own state.
///
/// ```
/// use tidings_protocol::{Epoch, Event, Fold, TaskId, TaskSnapshot};
///
/// let mut fold = Fold::default();
/// fold.snapshot(TaskSnapshot::new(TaskId::new("t")?, Epoch::new("e")?).into());
/// let event: Event = serde_json::from_str(
///     r#"{"event_type":"progress_update","task_id":"t","offset":1,
///         "timestamp":"2026-11-23T08:59:27.601Z","data":{"progress":40}}"#,
/// )?;
/// fold.event(&event)?;
/// assert_eq!(fold.state().unwrap().progress, Some(40.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Fold {
    state: Option<Arc<TaskSnapshot>>,
}

impl Fold {
    /// Returns the state so far, or `None` before the first snapshot.
    pub fn state(&self) -> Option<&Arc<TaskSnapshot>> {
        self.state.as_ref()
    }

    /// Applies a message about the task. Messages that do not change its state are ignored.
    ///
    /// # Errors
    /// Returns an error if an event's data does not fit its type.
    pub fn message(&mut self, message: &ServerMessage) -> Result<(), InvalidEvent> {
        match message {
            ServerMessage::Event(event) => return self.event(event),
            ServerMessage::Control { message, .. } => match message {
                ControlMessage::ConnectionEstablished {
                    task: Some(joined), ..
                }
                | ControlMessage::Subscribed {
                    task: Some(joined), ..
                } => self.snapshot(Arc::clone(&joined.snapshot)),
                ControlMessage::Reset { snapshot, .. }
                | ControlMessage::Gap {
                    snapshot: Some(snapshot),
                    ..
                } => self.snapshot(Arc::clone(snapshot)),
                _ => {}
            },
            ServerMessage::Unknown { .. } => {}
        }
        Ok(())
    }

    /// Replaces the state with a snapshot.
    pub fn snapshot(&mut self, snapshot: Arc<TaskSnapshot>) {
        self.state = Some(snapshot);
    }

    /// Applies an event. Events before the first snapshot are ignored.
    ///
    /// # Errors
    /// Returns an error if the event's data does not fit its type.
    pub fn event(&mut self, event: &Event) -> Result<(), InvalidEvent> {
        if let Some(state) = &mut self.state
            && event.offset > state.offset
        {
            let payload = Payload::of(event)?;
            Arc::make_mut(state).apply(&payload, event.offset, event.timestamp);
        }
        Ok(())
    }
}
