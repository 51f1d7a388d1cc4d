//! Questions of a task: watchers answer them, and the asking program waits for the
//! answer.

use tidings_protocol::{ClientRequest, InputOutcome, ItemId, Json, TaskId};

use crate::client::Client;
use crate::error::{CommandError, Stopped, WatchError};
use crate::publish::Acknowledged;
use crate::update::Update;

impl Client {
    /// Answers an open question of a task. The first answer wins. Returns the answer's
    /// place in the task's log.
    ///
    /// The client sends an answer only once. After [`CommandError::Unconfirmed`], the
    /// task's state says whether the server accepted the answer.
    ///
    /// # Errors
    /// Returns an error if the server refuses the answer. With `already_answered`,
    /// another answer was first. With `invalid_event`, the value does not fit the
    /// question. With `input_not_open`, nobody waits for the answer. Other errors: the
    /// connection broke before the server's answer, too many requests wait, or the
    /// client has stopped.
    ///
    /// # Cancel safety
    /// If the future is dropped, the answer may still be sent.
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

    /// Waits until a question of a task has ended, and returns its outcome. Another
    /// program may have asked the question. If the question does not exist yet, the
    /// call waits for it while the task runs.
    ///
    /// # Errors
    /// Returns an error if the token does not allow to watch the task, or if the client
    /// has stopped.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
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
                // The question may still be on its way to the server.
                Some(InputOutcome::Dropped) if !asked && !state.status.is_terminal() => {}
                Some(outcome) => return Ok(outcome),
            }
        }
        Err(WatchError::Stopped(Stopped::Closed))
    }
}
