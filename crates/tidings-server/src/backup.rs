//! `tidings backup`: a copy of what a server keeps.

use std::path::PathBuf;
use std::process::ExitCode;

use tidings_cli::{Server, block_on, print};
use tidings_node::copy_data;

use crate::failure::Failure;

/// Make a backup: of a running server, or of a data directory that no server has
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("../help/backup.txt").trim_ascii_end())]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: Server,

    /// Copy this data directory, which no server has, in place of asking one
    #[arg(long, value_name = "DIR", requires = "into")]
    data_dir: Option<PathBuf>,

    /// Where the copy goes; nothing may be there
    #[arg(value_name = "INTO", requires = "data_dir")]
    into: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if let (Some(from), Some(into)) = (&arguments.data_dir, &arguments.into) {
        let copied = crate::serve::block_on(async { Ok(copy_data(from, into).await?) })?;
        let into = into.display().to_string();
        say(&into, copied.tasks, copied.events, copied.bytes)?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(block_on(async {
        let made = arguments.server.client()?.back_up().await?;
        say(&made.directory, made.tasks, made.events, made.bytes)?;
        Ok(ExitCode::SUCCESS)
    })?)
}

fn say(directory: &str, tasks: u64, events: u64, bytes: u64) -> Result<(), tidings_cli::Failure> {
    print(&format!(
        "{directory}: {tasks} tasks, {events} events, {bytes} bytes of them"
    ))
}
