//! The bus alone, inside one process: no socket and no HTTP.
//!
//! A worker reports. One watcher follows from the start. Another joins in the middle and reaches
//! the same state. The program ends by itself.
//!
//! ```text
//! cargo run --example embed_bus
//! ```

use std::error::Error;
use std::time::Duration;

use tidings::{BusConfig, EventBus, Filter, NewEvent, PublishError, TaskId, Update};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new(BusConfig::default())?;
    let task: TaskId = "render-7".parse()?;

    let early = tokio::spawn(watch("early", bus.clone(), Filter::task(task.clone())));
    let worker = tokio::spawn(render(bus.clone(), task.clone()));
    tokio::time::sleep(Duration::from_millis(250)).await;

    // A late watcher reads the state, so it needs no replay.
    if let Some(state) = bus.snapshot(&task) {
        let progress = state.progress.unwrap_or_default();
        println!(
            "{:<6} joins at offset {}, {progress} % done",
            "late", state.offset
        );
    }
    // The last two earlier events, then live events. They come from one log, so none is missing or
    // repeated.
    let late = tokio::spawn(watch(
        "late",
        bus.clone(),
        Filter::task(task.clone()).history(2),
    ));

    worker.await??;
    early.await?;
    late.await?;

    // After the end, a second end is refused, and so is progress.
    if let Err(refused) = bus.publish(&task, NewEvent::progress(50.0, None)).await {
        println!("refused: {refused}");
    }
    let state = bus.snapshot(&task).ok_or("the task is known")?;
    println!("the task is {} after {} events", state.status, state.offset);
    bus.shutdown().await;
    Ok(())
}

/// Does the work. It reports, and never waits for a watcher.
async fn render(bus: EventBus, task: TaskId) -> Result<(), PublishError> {
    bus.publish(&task, NewEvent::task_started("Render")).await?;
    for frame in 1..=5 {
        tokio::time::sleep(Duration::from_millis(80)).await;
        let message = format!("frame {frame} of 5");
        bus.publish(
            &task,
            NewEvent::progress_of(f64::from(frame), 5.0, message.as_str()),
        )
        .await?;
    }
    bus.publish(&task, NewEvent::task_completed(None)).await?;
    Ok(())
}

/// Prints what arrives until the task has ended.
async fn watch(name: &str, bus: EventBus, filter: Filter) {
    let mut updates = bus.subscribe(filter);
    while let Some(update) = updates.recv().await {
        match update {
            Update::Event(event) => {
                println!(
                    "{name:<6} {} {} {}",
                    event.offset(),
                    event.event_type(),
                    event.data_json()
                );
                if event.event_type().as_str() == "task_completed" {
                    break;
                }
            }
            Update::Gap { gap, .. } => {
                println!(
                    "{name:<6} {} to {} are missing: {}",
                    gap.from, gap.to, gap.reason
                );
            }
            Update::Reset { reason, .. } => println!("{name:<6} starts over: {reason}"),
            Update::Removed { .. } => break,
            _ => {}
        }
    }
}
