//! A question that a task puts to the people who watch it.

use futures_util::StreamExt as _;
use serde_json::Value;
use tidings_protocol::{Data, EventType, InputProvided, NewEvent, Offset};

use crate::commands::field;
use crate::{Heard, Host, Reporter};

/// A person's answer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answered {
    /// The answer.
    pub value: Value,
    /// The person who gave it.
    pub by: String,
}

/// Why a question has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AskError<E> {
    /// The question was refused: correct it.
    #[error("the question was refused")]
    Refused(#[source] E),
    /// Nobody has answered in time.
    #[error("nobody has answered in time")]
    Expired,
    /// The task has ended meanwhile, or the answer is no longer in the log: ask again
    /// if it still matters.
    #[error("the question is not open any more, and its answer is not known")]
    Over,
    /// The bus or the client has stopped, or the task may not be followed.
    #[error("the answer cannot be waited for")]
    Stopped,
}

impl<H: Host> Reporter<H> {
    /// Asks the people who watch the task, and waits for the first answer. `schema`
    /// says what the answer is to look like, as JSON Schema.
    ///
    /// ```text
    /// let schema = json!({ "type": "boolean" });
    /// if task.ask("Deploy to production?", schema).await?.value == true { … }
    /// ```
    ///
    /// # Errors
    /// The question was refused or has expired, the task has ended, or the program
    /// shuts down.
    ///
    /// # Cancel safety
    /// The question stays open in the task's `pending_inputs`.
    pub async fn ask(
        &self,
        prompt: impl AsRef<str>,
        schema: impl Into<Option<Value>>,
    ) -> Result<Answered, AskError<H::Error>> {
        let id = format!("ask-{}", uuid::Uuid::new_v4().simple());
        // Followed first, or an answer could come in between.
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

/// Returns what an update says of the question that has this id and is at `asked`.
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
        Heard::Event(other, data) if other.as_str() == "input_expired" && is_own(data) => {
            Some(Err(AskError::Expired))
        }
        Heard::Event(other, _) if other.ends_as().is_some() => Some(Err(AskError::Over)),
        Heard::State(state) if state.offset >= asked => {
            let mut pending = state.pending_inputs.iter();
            let is_open = pending.any(|pending| pending.input_id.as_str() == id);
            (!is_open).then_some(Err(AskError::Over))
        }
        _ => None,
    }
}
