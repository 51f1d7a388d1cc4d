//! How a simulated task answers to what it is asked to do.

use tidings_bus::{Delivery, Filter, PublishError, Subscription};
use tidings_protocol::{CommandRequested, EventType, NewEvent};

use super::script::Script;

/// The one command that simulated tasks know.
const CANCEL: &str = "cancel";

/// The commands that a task gets, from its own log.
pub(super) struct Commands<'a> {
    script: &'a Script,
    requests: Subscription,
}

impl<'a> Commands<'a> {
    /// Those from now on.
    pub(super) fn to(script: &'a Script) -> Self {
        let filter = Filter::from(&script.task_id).event_types([EventType::CommandRequested]);
        Self {
            script,
            requests: script.bus.subscribe(filter),
        }
    }

    /// Answers until the task was cancelled.
    ///
    /// # Errors
    /// An answer could not be published.
    pub(super) async fn until_cancelled(&mut self) -> Result<(), PublishError> {
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

    /// Rejects whatever comes. Returns only with an error: see
    /// [`until_cancelled`](Self::until_cancelled).
    pub(super) async fn reject(&mut self, reason: &str) -> Result<(), PublishError> {
        loop {
            let request = self.next().await;
            self.script
                .say(NewEvent::command_rejected(&request.command_id, reason))
                .await?;
        }
    }

    /// The next request; waits for ever once the bus is closed.
    async fn next(&mut self) -> CommandRequested {
        loop {
            match self.requests.recv().await {
                // The bus has checked that the data fits the type.
                Some(Delivery::Event(event)) => match event.data().deserialize() {
                    Ok(request) => return request,
                    Err(error) => tracing::debug!(%error, "a command could not be read"),
                },
                // Its sender is told of the loss by the task's state: still pending.
                Some(Delivery::Gap { .. }) => {}
                None => std::future::pending().await,
            }
        }
    }
}
