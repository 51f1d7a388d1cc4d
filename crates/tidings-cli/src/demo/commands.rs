//! The answers of a simulated task to its commands.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tidings_client::protocol::{CommandRequested, NewEvent};

use super::script::Script;
use super::stage::StageError;

/// The only command that simulated tasks accept.
const CANCEL: &str = "cancel";

/// The commands that a task receives, from its own log.
pub(super) struct Commands<'a> {
    script: &'a Script,
    requests: BoxStream<'static, CommandRequested>,
}

impl<'a> Commands<'a> {
    /// Returns the commands from now on.
    pub(super) fn to(script: &'a Script) -> Self {
        Self {
            script,
            requests: script.stage.commands(&script.task_id),
        }
    }

    /// Answers commands until the task is cancelled.
    ///
    /// # Errors
    /// Returns an error if an answer could not be published.
    pub(super) async fn until_cancelled(&mut self) -> Result<(), StageError> {
        loop {
            let request = self.next().await;
            let id = &request.command_id;
            if request.command == CANCEL {
                self.script.say(NewEvent::command_accepted(id)).await?;
                self.script
                    .say(NewEvent::task_cancelled("cancelled by command"))
                    .await?;
                return self.script.say(NewEvent::command_completed(id, None)).await;
            }
            let reason = "a simulated task knows only the command `cancel`";
            self.script
                .say(NewEvent::command_rejected(id, reason))
                .await?;
        }
    }

    /// Rejects every command. Returns only with an error: see
    /// [`until_cancelled`](Self::until_cancelled).
    pub(super) async fn reject(&mut self, reason: &str) -> Result<(), StageError> {
        loop {
            let request = self.next().await;
            self.script
                .say(NewEvent::command_rejected(&request.command_id, reason))
                .await?;
        }
    }

    /// Returns the next request. Waits for ever once the stage is closed.
    async fn next(&mut self) -> CommandRequested {
        match self.requests.next().await {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }
}
