//! `test_001`: the task that most people watch first.

use serde_json::json;
use tidings_client::protocol::NewEvent;

use super::script::Script;
use super::stage::StageError;

/// The duration of a step, in milliseconds.
const STEP: u64 = 2_000;

pub(super) async fn run(script: &Script) -> Result<(), StageError> {
    script.say(NewEvent::task_started("Test task")).await?;
    for (percent, message) in [
        (20.0, "Reading the input"),
        (40.0, "Sorting it"),
        (60.0, "Doing the work"),
        (80.0, "Checking the result"),
        (100.0, "Done"),
    ] {
        script
            .after(STEP, NewEvent::progress(percent, message))
            .await?;
    }
    script
        .say(NewEvent::task_completed(json!({ "steps": 5 })))
        .await
}
