//! Repeats one simulated task, and makes it obey commands.

use std::sync::Arc;

use tidings_client::protocol::NewEvent;

use super::Length;
use super::commands::Commands;
use super::script::{Scenario, Script};
use super::stage::{Stage, StageError};

/// Plays a scenario until it has ended, the stage is closed, or the future is dropped.
pub(super) async fn play(stage: Arc<dyn Stage>, scenario: Scenario, length: Length) {
    let script = Script {
        stage,
        task_id: scenario.task_id(),
    };
    let task_id = &script.task_id;
    let mut commands = Commands::to(&script);
    loop {
        tracing::debug!(%task_id, "a simulated run starts");
        let ended = tokio::select! {
            ended = scenario.run(&script) => ended,
            ended = commands.until_cancelled() => ended,
        };
        match ended {
            Ok(()) => {}
            Err(StageError::Closed) => return,
            Err(error) => {
                // Any client may publish to the demo's tasks and disturb their runs.
                tracing::warn!(%task_id, %error, "a simulated run was disturbed and starts over");
                let over = NewEvent::task_cancelled("the simulation starts over");
                if let Err(error) = script.say(over).await {
                    tracing::debug!(%task_id, %error, "it had ended already");
                }
            }
        }
        if length == Length::Once {
            return;
        }
        let pause = tokio::time::sleep(scenario.pause());
        tokio::select! {
            () = pause => {}
            ended = commands.reject("the task is not running; a new run starts in a moment") => {
                tracing::debug!(%task_id, ?ended, "no commands can be answered");
                return;
            }
        }
    }
}
