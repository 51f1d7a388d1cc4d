//! `tidings backup`: copies the data of a server.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use tidings_cli::{Format, Server, block_on, print, print_json};
use tidings_node::copy_data;

use crate::failure::Failure;

/// Make a backup of a running server, or of a data directory that no server has open
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("../help/backup.txt").trim_ascii_end())]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,

    /// Copy this data directory instead of asking a server. No server may have it open
    #[arg(long, value_name = "DIR", requires = "into")]
    data_dir: Option<PathBuf>,

    /// The directory of the copy. It must not exist yet
    #[arg(value_name = "INTO", requires = "data_dir")]
    into: Option<PathBuf>,

    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let (Some(from), Some(into)) = (&arguments.data_dir, &arguments.into) {
        let copied = crate::serve::block_on(async { Ok(copy_data(from, into).await?) })?;
        let into = into.display().to_string();
        let made = [copied.tasks, copied.events, copied.bytes];
        say(&into, made, &arguments.format)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(block_on(async {
        let made = arguments.server.client()?.back_up().await?;
        let counts = [made.tasks, made.events, made.bytes];
        say(&made.directory, counts, &arguments.format)?;
        Ok(ExitCode::SUCCESS)
    })?)
}

fn say(
    directory: &str,
    [tasks, events, bytes]: [u64; 3],
    format: &Format,
) -> Result<(), tidings_cli::Failure> {
    if format.is_json() {
        let json = json!({
            "directory": directory, "tasks": tasks, "events": events, "bytes": bytes,
        });
        return print_json(&json.to_string());
    }
    print(&format!(
        "{directory}: {tasks} tasks, {events} events, {bytes} bytes of them"
    ))
}
