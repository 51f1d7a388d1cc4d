//! Ends this program by the signal that has ended the command.
//!
//! A shell stops a loop if Ctrl-C has ended a command in it, and other programs that start
//! commands look at the signal as well. An exit code would not reveal it. This program
//! catches signals, so another program of the same process dies in its place.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setrlimit};

use super::this_program::{NAME, take_name, this_program};

/// The name of the hidden command.
const DIE: &str = "die";

/// End by a signal
#[derive(Debug, clap::Args)]
pub struct Arguments {
    signal: u8,
}

/// Ends this process by a signal. Returns only if that is not possible.
pub(super) fn die(signal: i32) {
    if let Ok(program) = this_program() {
        // After an error this process continues, and ends with an exit code.
        let _ = Command::new(program)
            .arg0(NAME)
            .arg(DIE)
            .arg(signal.to_string())
            .exec();
    }
}

/// Ends by the signal. If the process ignores it, returns the exit code that a shell would return.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    take_name();
    // The command has dumped its memory already, if that was wanted. A program that receives the
    // dumps of a Linux system ignores the limit.
    #[cfg(target_os = "linux")]
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let limit = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Core)
    };
    let _ = setrlimit(Resource::Core, limit);
    if let Some(signal) = Signal::from_named_raw(arguments.signal.into()) {
        let _ = kill_process(getpid(), signal);
    }
    ExitCode::from(128 | arguments.signal)
}
