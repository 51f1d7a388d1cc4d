//! A command-line tool that uses only the bus. Worker threads report, one line shows the progress,
//! Ctrl-C cancels, and the exit code is the outcome of the task.
//!
//! ```text
//! cargo run --example cli_tool
//! cargo run --example cli_tool Cargo.toml README.md LICENSE
//! ```

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use tidings::bus::guard::{BoxError, Reporter, RunError};
use tidings::{BusConfig, EventBus, TaskId};

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        files = vec!["Cargo.toml".into(), "README.md".into()];
    }
    let bus = EventBus::new(BusConfig::default())?;
    let id: TaskId = "count".parse()?;
    let shown = tokio::spawn(show(bus.clone(), id.clone()));

    let stop = bus.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.shutdown().await;
        }
    });
    let counted = bus.begin(id).name("Count bytes").total(files.len() as f64);
    let counted = counted.run(|task| count(task, files)).await;
    bus.shutdown().await;
    shown.await?;
    match counted {
        Ok(bytes) => println!("{bytes} bytes"),
        Err(RunError::Cancelled(cancelled)) => {
            eprintln!("{cancelled}");
            return Ok(ExitCode::from(130));
        }
        Err(RunError::Failed(error)) => {
            eprintln!("{error}");
            return Ok(ExitCode::FAILURE);
        }
        Err(other) => return Err(other.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Does the work on threads. Every thread may report, and reporting never fails the work.
async fn count(task: Reporter, files: Vec<PathBuf>) -> Result<usize, BoxError> {
    let total = files.len() as f64;
    let mut bytes = 0;
    for (number, file) in files.into_iter().enumerate() {
        let step = task.step(file.display().to_string());
        let name = file.display().to_string();
        let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await?;
        match read {
            Ok(text) => {
                bytes += text.len();
                step.complete();
            }
            Err(error) => {
                let error = format!("{name}: {error}");
                step.fail(error.clone());
                return Err(error.into());
            }
        }
        task.progress_of(number as f64 + 1.0, total, name.as_str());
    }
    Ok(bytes)
}

/// Shows the task's progress in one line, until the bus is shut down.
async fn show(bus: EventBus, id: TaskId) {
    let mut watch = bus.watch(&id);
    while watch.recv().await.is_some() {
        if let Some(state) = watch.state(&id) {
            let progress = state.progress.unwrap_or_default();
            let message = state.message.as_deref().unwrap_or_default();
            print!("\r{progress:3.0} % {message:<30}");
            let _ = std::io::stdout().flush();
        }
    }
    println!();
}
