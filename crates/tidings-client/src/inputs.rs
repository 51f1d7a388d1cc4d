//! Questions: answered by those who watch, waited for by those who ask.

use tidings_protocol::{ClientRequest, InputOutcome, ItemId, Json, TaskId};

use crate::client::Client;
use crate::error::{CommandError, Stopped, WatchError};
use crate::publish::Acknowledged;
use crate::update::Update;

impl Client {
    /// Answers an open question of a task. The first answer wins; the answer is the
    /// place of it in the task's log.
    ///
    /// An answer is sent once. After [`CommandError::Unconfirmed`] the task's state
    /// says whether it was taken.
    ///
    /// # Errors
    /// The server refused it: with `already_answered` somebody else was first, with
    /// `invalid_event` the value does not fit the question, with `invalid_transition`
    /// the question is not open. Or the connection broke before the server had
    /// answered, too many requests wait, or the client has stopped.
    ///
    /// # Cancel safety
    /// Dropped, the answer may still be sent.
    pub async fn answer(
        &self,
        task_id: &TaskId,
        input_id: &ItemId,
        value: Json,
    ) -> Result<Acknowledged, CommandError> {
        self.ask_once(ClientRequest::Answer {
            task_id: Some(task_id.clone()),
            input_id: input_id.clone(),
            value,
        })
        .await
    }

    /// Waits until a question of a task has ended, whether it was asked by this
    /// program or by one before it. A question that is not known yet is waited for,
    /// as long as the task runs.
    ///
    /// # Errors
    /// The task may not be watched, or the client has stopped.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn input_outcome(
        &self,
        task_id: &TaskId,
        input_id: &ItemId,
    ) -> Result<InputOutcome, WatchError> {
        let mut watch = self.watch(task_id);
        let mut asked = false;
        while let Some(update) = watch.recv().await? {
            if let Update::Event(event) = &update
                && let Some(outcome) = InputOutcome::told(event, input_id)
            {
                return Ok(outcome);
            }
            let Some(state) = watch.state(task_id) else {
                continue;
            };
            match InputOutcome::of(state, input_id) {
                None => asked = true,
                // It may be on its way.
                Some(InputOutcome::Dropped) if !asked && !state.status.is_terminal() => {}
                Some(outcome) => return Ok(outcome),
            }
        }
        Err(WatchError::Stopped(Stopped::Closed))
    }
}
