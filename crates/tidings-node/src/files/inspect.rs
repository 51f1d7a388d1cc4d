//! `tidings inspect`: shows the content of a data directory.

use std::path::PathBuf;

use tidings_store::{Inspected, Left, OpenError, inspect};

use super::{FileError, Told};

const EXAMPLES: &str = "\
Examples:
  tidings inspect data
  tidings inspect backups/2026-11-24T15-04-05.000Z
  tidings inspect data --json | jq '.tasks[] | select(.bytes > 1000000) | .task_id'

Nothing in the directory is changed. Exit codes: 0 told, 65 it is damaged or not
ours, 66 there is none, 75 a server has it.";

/// Show the content of a data directory: tasks, sizes, positions, and how it was closed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The data directory. No server may have it open
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<Told, FileError> {
    match inspect(&arguments.directory).await {
        Ok(found) if arguments.json => Ok(Told::Json(
            serde_json::to_string(&found).unwrap_or_default(),
        )),
        Ok(found) => Ok(Told::Text(tell(&found))),
        Err(OpenError::InUse { path }) => Err(FileError::Running { path }),
        Err(error) => Err(FileError::Store(error)),
    }
}

fn tell(found: &Inspected) -> String {
    let left = match found.left {
        Left::Clean => "by an orderly stop",
        Left::Unclean => "by a crash",
        _ => "as a backup",
    };
    let sync = found.sync.as_deref().unwrap_or("-");
    let epochs = if found.epoch_goes_on {
        "go on"
    } else {
        "change at the next start"
    };
    let mut text = format!(
        "left {left}, sync {sync}, epochs {epochs}\n\
         {} tasks, {} events, {} bytes of them, {} bytes on disk, {} clients\n\n\
         {:<32} {:<10} {:>12}  {:>17}  POSITION",
        found.tasks.len(),
        found.events,
        found.bytes,
        found.bytes_on_disk,
        found.clients,
        "TASK",
        "STATUS",
        "BYTES",
        "FROM",
    );
    for task in &found.tasks {
        text.push_str(&format!(
            "\n{:<32} {:<10} {:>12}  {:>17}  {}:{}",
            task.task_id, task.status, task.bytes, task.first, task.epoch, task.offset
        ));
    }
    text
}
