//! Passes on the output of processes that a command leaves behind.
//!
//! `tidings run` ends with its command. A process that the command has left behind may
//! still write to the command's output, and SIGPIPE would end it. Another process of
//! this program therefore continues to copy, until no process can write any more.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::setsid;

use super::pump::{Rest, copy};
use super::this_program::{NAME, take_name, this_program};
use crate::Failure;

/// The name of the hidden command.
const PASS_ON: &str = "pass-on";

/// Copy standard input to standard output, apart from any terminal
#[derive(Debug, clap::Args)]
pub struct Arguments {}

/// Starts a process that copies the rest of a stream.
pub(super) fn start(rest: Rest) -> io::Result<()> {
    Command::new(this_program()?)
        .arg0(NAME)
        .arg(PASS_ON)
        .env_clear()
        .current_dir("/")
        .stdin(rest.from)
        .stdout(rest.to)
        .stderr(Stdio::null())
        .spawn()?;
    Ok(())
}

/// Copies until one of the streams ends.
pub(crate) fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    take_name();
    // Signals of the terminal are for the processes that write. A group leader cannot
    // begin a session, and needs none.
    let _ = setsid();
    let from = io::stdin().as_fd().try_clone_to_owned();
    let to = io::stdout().as_fd().try_clone_to_owned();
    copy(from.map_err(Failure::System)?, to.map_err(Failure::System)?);
    Ok(ExitCode::SUCCESS)
}
