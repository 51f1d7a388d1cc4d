//! `tidings backup`: a copy of what a server keeps.

use std::path::PathBuf;
use std::process::ExitCode;

use tidings_cli::{Server, block_on, print};
use tidings_store::{CopyError, OpenError};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  tidings --data-dir data --backup-dir backups   a server that may be asked for backups
  tidings backup                                 ask it for one; says where it is
  tidings backup --url https://tidings.example --token TOKEN
  tidings backup --data-dir data copy            copy a directory that no server has
  tidings --data-dir copy                        start from a backup

A backup is a data directory with what was stored at one moment. A server that
starts from one begins new epochs: watchers are told, and get each task's state.
Exit codes: 0 made, 64 wrong usage, 65 the data directory is damaged or not ours,
66 there is none, 69 no backup from the server, 73 it cannot be written, 75 a
server has the directory, 77 the token is missing or not enough (it takes `admin`).";

/// Make a backup: of a running server, or of a data directory that no server has
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
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

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match (&arguments.data_dir, &arguments.into) {
        (Some(from), Some(into)) => {
            let mut copied = None;
            block_on(async {
                copied = Some(tidings_store::back_up(from, into).await);
                Ok(ExitCode::SUCCESS)
            })?;
            match copied {
                Some(Ok(copied)) => {
                    let into = into.display().to_string();
                    say(&into, copied.tasks, copied.events, copied.bytes)?;
                    Ok(())
                }
                Some(Err(CopyError::Source(OpenError::InUse { path }))) => {
                    Err(Failure::Running { path })
                }
                Some(Err(error)) => Err(Failure::Backup(error)),
                None => Ok(()),
            }
        }
        _ => {
            block_on(async {
                let client = arguments.server.client()?;
                let made = client.back_up().await?;
                say(&made.directory, made.tasks, made.events, made.bytes)?;
                Ok(ExitCode::SUCCESS)
            })?;
            Ok(())
        }
    }
}

fn say(directory: &str, tasks: u64, events: u64, bytes: u64) -> Result<(), tidings_cli::Failure> {
    print(&format!(
        "{directory}: {tasks} tasks, {events} events, {bytes} bytes of them"
    ))
}
