//! `build_main`: steps, log lines, and a failure.

use serde_json::json;
use tidings_client::protocol::{Data, EventType, LogStream, NewEvent, TaskError};

use super::script::Script;
use super::stage::StageError;

/// The crates that compile before the failing one.
const CRATES: [&str; 5] = ["bytes", "hyper", "protocol", "bus", "connections"];

/// The last messages of the compiler.
const ERROR: [&str; 5] = [
    "error[E0382]: borrow of moved value: `cursor`",
    "  --> src/session.rs:118:22",
    "   |         deliver(cursor);",
    "   |                 ------ value moved here",
    "   |         cursor.advance(1);",
];

pub(super) async fn run(script: &Script) -> Result<(), StageError> {
    script.say(NewEvent::task_started("Build of main")).await?;

    script.say(NewEvent::step_started("fetch", "Fetch")).await?;
    script
        .after(400, stdout("Fetching main at 4f1c2ab"))
        .await?;
    script.after(600, stdout("Checked out 214 files")).await?;
    script
        .say(NewEvent::step_completed(
            "fetch",
            json!({ "commit": "4f1c2ab" }),
        ))
        .await?;
    script.say(NewEvent::progress(10.0, "Compiling")).await?;

    script
        .say(NewEvent::step_started("compile", "Compile"))
        .await?;
    for (percent, name) in [20.0, 35.0, 50.0, 65.0, 80.0].into_iter().zip(CRATES) {
        script
            .after(900, stdout(&format!("   Compiling {name}")))
            .await?;
        script.say(NewEvent::progress(percent, name)).await?;
    }
    script.after(900, stdout("   Compiling server")).await?;
    for line in ERROR {
        script.after(60, stderr(line)).await?;
    }

    let error = || TaskError::new("server does not compile: 1 error").with_code("E0382");
    script
        .after(300, NewEvent::step_failed("compile", error()))
        .await?;
    script.say(NewEvent::task_failed(error())).await
}

fn stdout(line: &str) -> NewEvent {
    log(line, "info", LogStream::Stdout)
}

fn stderr(line: &str) -> NewEvent {
    log(line, "error", LogStream::Stderr)
}

fn log(line: &str, level: &str, stream: LogStream) -> NewEvent {
    let data = json!({ "message": line, "level": level, "stream": stream });
    let data = Data::from_value(data).expect("an object of a few short texts");
    NewEvent::new(EventType::Log, data)
}
