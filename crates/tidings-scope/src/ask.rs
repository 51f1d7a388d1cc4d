//! A task's question to the people who watch it.

use futures_util::StreamExt as _;
use serde_json::Value;
use tidings_protocol::{Data, EventType, InputOutcome, InputProvided, NewEvent, Offset};

use crate::commands::field;
use crate::{Heard, Host, Reporter};

/// A person's answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answered {
    /// The answer.
    pub value: Value,
    /// The person who gave the answer.
    pub by: String,
}

/// The reason why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AskError<E> {
    /// The question was refused. Correct it.
    #[error("the question was refused")]
    Refused(#[source] E),
    /// The question expired before an answer arrived.
    #[error("nobody has answered in time")]
    Expired,
    /// The task has ended, or the log no longer has the answer. Ask again if the answer
    /// still matters.
    #[error("the question is not open any more, and its answer is not known")]
    Over,
    /// The bus or the client has stopped, or the program may not follow the task.
    #[error(
        "the bus or the client has stopped, or may not follow the task, so no answer can arrive"
    )]
    Stopped,
}

impl<H: Host> Reporter<H> {
    /// Asks the people who watch the task, and waits for the first answer. `schema`
    /// describes the form of the answer, as JSON Schema.
    ///
    /// ```text
    /// let schema = json!({ "type": "boolean" });
    /// if task.ask("Deploy to production?", schema).await?.value == true { … }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the question is refused or expires, the task ends, or the
    /// program shuts down.
    ///
    /// # Cancel safety
    /// If the future is dropped, the question stays open in the task's
    /// `pending_inputs`.
    pub async fn ask(
        &self,
        prompt: impl AsRef<str>,
        schema: impl Into<Option<Value>>,
    ) -> Result<Answered, AskError<H::Error>> {
        let id = format!("ask-{}", uuid::Uuid::new_v4().simple());
        // Follow the task before asking. Otherwise, an early answer could be missed.
        let mut updates = self.host().follow(self.id());
        let asked = self.reply(NewEvent::input_required(&id, prompt, schema));
        let asked = H::offset(&asked.await.map_err(AskError::Refused)?);
        while let Some(Ok(heard)) = updates.next().await {
            if let Some(answer) = answer(&heard, &id, asked) {
                return answer;
            }
        }
        Err(AskError::Stopped)
    }
}

/// Returns the answer in an update, to the question with this id at the offset `asked`.
fn answer<E>(heard: &Heard, id: &str, asked: Offset) -> Option<Result<Answered, AskError<E>>> {
    let is_own = |data: &Data| field(data, "input_id").as_deref() == Some(id);
    match heard {
        Heard::Event(EventType::InputProvided, data) if is_own(data) => {
            // The log has checked that the data fits the type.
            let provided: InputProvided = data.deserialize().ok()?;
            Some(Ok(Answered {
                value: provided.value.to_value(),
                by: provided.by,
            }))
        }
        Heard::Event(EventType::InputExpired, data) if is_own(data) => Some(Err(AskError::Expired)),
        Heard::Event(other, _) if other.ends_as().is_some() => Some(Err(AskError::Over)),
        Heard::State(state) if state.offset >= asked => {
            Some(outcome(InputOutcome::of(state, &id.parse().ok()?)?))
        }
        _ => None,
    }
}

/// Returns the answer in a task's state, to a question that is no longer open.
fn outcome<E>(outcome: InputOutcome) -> Result<Answered, AskError<E>> {
    match outcome {
        InputOutcome::Answered {
            value: Some(value),
            by,
            ..
        } => Ok(Answered {
            value: value.to_value(),
            by,
        }),
        InputOutcome::Expired => Err(AskError::Expired),
        // An answer that is too large for the state is only in the log.
        _ => Err(AskError::Over),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tidings_protocol::{Epoch, Payload, TaskId, TaskSnapshot, Timestamp};

    use super::*;

    /// Returns the state of a task after these events.
    fn state(events: &[NewEvent]) -> TaskSnapshot {
        let mut state = TaskSnapshot::new(TaskId::new("t").unwrap(), Epoch::new("e").unwrap());
        for event in events {
            let payload = Payload::parse(&event.event_type, &event.data).unwrap();
            let offset = Offset::new(state.offset.get() + 1).unwrap();
            state.apply(&payload, offset, Timestamp::MIN);
        }
        state
    }

    fn event(event_type: &str, data: Value) -> NewEvent {
        let data = Data::from_value(data).unwrap();
        NewEvent::new(event_type.parse().unwrap(), data)
    }

    /// Returns the result of a state for a worker that has asked `q` at offset 2.
    fn told(then: Option<NewEvent>) -> Option<Result<Answered, AskError<()>>> {
        let mut events = vec![
            NewEvent::task_started("t"),
            NewEvent::input_required("q", "?", None),
        ];
        events.extend(then);
        let heard = Heard::State(Arc::new(state(&events)));
        answer(&heard, "q", Offset::new(2).unwrap())
    }

    #[test]
    fn a_state_tells_the_answer_whose_event_was_missed() {
        assert!(told(None).is_none(), "the question is open");
        let provided = |value: Value| {
            let data = json!({ "input_id": "q", "value": value, "by": "ada" });
            told(Some(event("input_provided", data))).unwrap()
        };
        let answered = provided(json!([1, "two"])).unwrap();
        assert_eq!((answered.value, &*answered.by), (json!([1, "two"]), "ada"));
        let large = provided(json!("x".repeat(9_000)));
        assert!(matches!(large, Err(AskError::Over)), "{large:?}");
        let expired = told(Some(event("input_expired", json!({ "input_id": "q" }))));
        assert!(matches!(expired, Some(Err(AskError::Expired))));
        let ended = told(Some(NewEvent::task_completed(None)));
        assert!(matches!(ended, Some(Err(AskError::Over))));
    }

    #[test]
    fn a_state_from_before_the_question_tells_nothing() {
        let before = Heard::State(Arc::new(state(&[NewEvent::task_started("t")])));
        let told: Option<Result<Answered, AskError<()>>> =
            answer(&before, "q", Offset::new(2).unwrap());
        assert!(told.is_none());
    }
}
