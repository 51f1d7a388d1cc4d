//! `quick_01` to `quick_40`: many short tasks, for a dashboard.

use serde_json::json;
use tidings_client::protocol::NewEvent;

use super::script::Script;
use super::stage::StageError;

/// The number of these tasks.
pub(super) const COUNT: u8 = 40;

/// The size of a progress step, in per cent.
const STEP: u8 = 10;

pub(super) async fn run(script: &Script, number: u8) -> Result<(), StageError> {
    // Each run has its own speed, with small variations.
    let pace = fastrand::u64(50..500);
    script
        .after(
            fastrand::u64(0..1_000),
            NewEvent::task_started(format!("Quick {number}")),
        )
        .await?;
    for percent in (STEP..=100).step_by(usize::from(STEP)) {
        let event = NewEvent::progress(f64::from(percent), None);
        script
            .after(pace + fastrand::u64(0..=pace / 2), event)
            .await?;
    }
    script
        .say(NewEvent::task_completed(json!({ "pace_ms": pace })))
        .await
}
