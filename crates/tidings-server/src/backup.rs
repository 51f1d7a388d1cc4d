//! `tidings backup`: copies the data of a server.

use std::path::PathBuf;

use serde_json::json;
use tidings_cli::{Format, Server, print, print_json};
use tidings_node::copy_data;

use crate::failure::Failure;
use crate::serve::block_on;

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

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (directory, [tasks, events, bytes]) = match (&arguments.data_dir, &arguments.into) {
        (Some(from), Some(into)) => {
            let made = block_on(async { Ok(copy_data(from, into).await?) })?;
            let into = into.display().to_string();
            (into, [made.tasks, made.events, made.bytes])
        }
        _ => {
            let made = block_on(async {
                let made = arguments.server.client()?.back_up().await;
                Ok(made.map_err(tidings_cli::Failure::from)?)
            })?;
            (made.directory, [made.tasks, made.events, made.bytes])
        }
    };
    if arguments.format.is_json() {
        let made = json!({
            "directory": directory, "tasks": tasks, "events": events, "bytes": bytes,
        });
        print_json(&made.to_string())?;
    } else {
        let made = format!("{directory}: {tasks} tasks, {events} events, {bytes} bytes of them");
        print(&made)?;
    }
    Ok(())
}
