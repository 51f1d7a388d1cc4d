//! The command's process: started with a terminal of its own or with pipes.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use pty_process::blocking::{Command as PtyCommand, Pts, Pty};
use rustix::process::Pid;
use tidings_client::protocol::LogStream;
use tokio::sync::oneshot;

use super::descendants::Processes;
use super::forward::{Caught, Forward};
use super::pump::{Copies, Pumps};
use super::terminal;

/// Whether the command gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PtyWanted {
    /// If `tidings run` has a terminal: each of stdout and stderr that is one stays one.
    Auto,
    /// Always, for its output. Tools then show progress in a script or in CI as well.
    Always,
    /// Never: its output goes into pipes.
    Never,
}

/// What of ours is a terminal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminals {
    /// What is typed comes to us: stdin is a terminal, and we are in its foreground.
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// `/dev/tty` can be opened.
    pub(super) controlling: bool,
}

impl Terminals {
    fn ours() -> Self {
        Self {
            stdin: io::stdin().is_terminal() && terminal::is_foreground(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            controlling: terminal::is_controlled(),
        }
    }
}

/// Where the command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a session of its own, controlled by a new terminal.
    Session,
    /// In our own process group. It shares our terminal as if we were not there: its
    /// foreground, its keys, and what else is in the same pipeline.
    OurGroup,
    /// In a process group of its own. There is no terminal to share.
    OwnGroup,
}

/// How the command is started: where, and whether stdout and stderr are terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) place: Place,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

/// Decides how a command is started.
pub(super) fn start(wanted: PtyWanted, ours: Terminals) -> Start {
    let (stdout, stderr) = match wanted {
        PtyWanted::Auto => (ours.stdout, ours.stderr),
        PtyWanted::Always => (true, true),
        PtyWanted::Never => (false, false),
    };
    // A program that draws on stdout and reads keys needs one terminal for both.
    let interactive = stdout && ours.stdin;
    let place = if interactive || ((stdout || stderr) && !ours.controlling) {
        Place::Session
    } else if ours.controlling {
        Place::OurGroup
    } else {
        Place::OwnGroup
    };
    Start {
        place,
        stdout,
        stderr,
    }
}

/// A command that runs.
pub(super) struct Running {
    processes: Processes,
    pumps: Pumps,
    exit: oneshot::Receiver<io::Result<ExitStatus>>,
    forward: Forward,
}

impl Running {
    /// Starts it, with threads that carry its bytes.
    pub(super) fn start(
        command: &[OsString],
        variables: &[(&str, String)],
        wanted: PtyWanted,
        copies: Copies,
        mut caught: Option<Caught>,
    ) -> io::Result<Self> {
        let ours = Terminals::ours();
        let start = start(wanted, ours);
        let early = caught.as_mut().map(Caught::take).unwrap_or_default();
        let (mut child, pty) = spawn(command, variables, start, ours.stdin)?;
        let main = Pid::from_child(&child);
        let processes = Processes::new(main, start.place != Place::OurGroup);
        // What came before the command was there is for it as well.
        let caught = caught.map_or_else(Caught::new, Ok)?;
        for signal in early {
            processes.pass_on(signal);
        }
        let reader = pty.as_ref().map(terminal::duplicate).transpose()?;
        let keys = start.place == Place::Session && ours.stdin;
        // Before anything is shown, what is typed in answer to it must find its way.
        let forward = Forward::start(caught, processes, start.place, pty, keys)?;
        let mut pumps = Pumps::new(copies);
        if let Some(pipe) = child.stdout.take() {
            pumps.add(pipe, LogStream::Stdout, None)?;
        }
        if let Some(pipe) = child.stderr.take() {
            pumps.add(pipe, LogStream::Stderr, None)?;
        }
        if let Some(reader) = reader {
            let stream = if start.stdout {
                LogStream::Stdout
            } else {
                LogStream::Stderr
            };
            pumps.add(reader, stream, Some(processes))?;
        }
        let (sender, exit) = oneshot::channel();
        std::thread::spawn(move || {
            // Whoever waited is gone only when the program ends.
            let _ = sender.send(child.wait());
        });
        Ok(Self {
            processes,
            pumps,
            exit,
            forward,
        })
    }

    /// Its processes.
    pub(super) fn processes(&self) -> Processes {
        self.processes
    }

    /// Waits until it has ended. It may be called again after it was dropped.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let ended = (&mut self.exit).await;
        ended.unwrap_or_else(|_| Err(io::Error::other("nobody waits for the command")))
    }

    /// After its end: waits until all that it has put out was passed on, and
    /// gives our own terminal back. Returns the stream that could not be written.
    pub(super) async fn drained(self) -> Option<(LogStream, io::Error)> {
        self.pumps.drained().await;
        drop(self.forward);
        self.pumps.failure()
    }
}

fn spawn(
    command: &[OsString],
    variables: &[(&str, String)],
    start: Start,
    typed: bool,
) -> io::Result<(Child, Option<Pty>)> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let pair = if start.stdout || start.stderr {
        let (pty, pts) = pty_process::blocking::open().map_err(error)?;
        terminal::prepare(&pty, &pts)?;
        Some((pty, pts))
    } else {
        None
    };
    if start.place == Place::Session
        && let Some((pty, pts)) = pair
    {
        let mut started = PtyCommand::new(program).args(arguments);
        for (name, value) in variables {
            started = started.env(name, value);
        }
        if !typed {
            started = started.stdin(Stdio::inherit());
        }
        if !start.stdout {
            started = started.stdout(Stdio::piped());
        }
        if !start.stderr {
            started = started.stderr(Stdio::piped());
        }
        let child = started.spawn(pts).map_err(error)?;
        return Ok((child, Some(pty)));
    }
    let mut started = Command::new(program);
    started.args(arguments);
    started.envs(variables.iter().map(|(name, value)| (name, value)));
    if start.place == Place::OwnGroup {
        started.process_group(0);
    }
    let pts = pair.as_ref().map(|(_, pts)| pts);
    started.stdout(stream(pts, start.stdout)?);
    started.stderr(stream(pts, start.stderr)?);
    let child = started.spawn()?;
    Ok((child, pair.map(|(pty, _)| pty)))
}

/// The terminal if the stream is to be one, or else a pipe.
fn stream(pts: Option<&Pts>, wanted: bool) -> io::Result<Stdio> {
    match pts {
        Some(pts) if wanted => Ok(Stdio::from(pts.as_fd().try_clone_to_owned()?)),
        _ => Ok(Stdio::piped()),
    }
}

fn error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stdin, stdout, stderr, a controlling terminal.
    fn ours(terminals: [bool; 4]) -> Terminals {
        let [stdin, stdout, stderr, controlling] = terminals;
        Terminals {
            stdin,
            stdout,
            stderr,
            controlling,
        }
    }

    #[test]
    fn only_a_program_that_draws_and_reads_keys_leaves_our_terminal() {
        use Place::{OurGroup, OwnGroup, Session};
        use PtyWanted::{Always, Auto, Never};
        const YES: bool = true;
        const NO: bool = false;
        for (wanted, terminals, place, stdout, stderr) in [
            // At a shell; `| less`; `</dev/null`; `2>file`; `>file 2>&1`.
            (Auto, [YES, YES, YES, YES], Session, YES, YES),
            (Auto, [YES, NO, YES, YES], OurGroup, NO, YES),
            (Auto, [NO, YES, YES, YES], OurGroup, YES, YES),
            (Auto, [YES, YES, NO, YES], Session, YES, NO),
            (Auto, [YES, NO, NO, YES], OurGroup, NO, NO),
            // In the background of a shell; without any terminal.
            (Auto, [NO, YES, YES, YES], OurGroup, YES, YES),
            (Auto, [NO, NO, NO, NO], OwnGroup, NO, NO),
            (Never, [YES, YES, YES, YES], OurGroup, NO, NO),
            (Never, [NO, NO, NO, NO], OwnGroup, NO, NO),
            (Always, [NO, NO, NO, NO], Session, YES, YES),
            (Always, [NO, NO, NO, YES], OurGroup, YES, YES),
            (Always, [YES, NO, NO, YES], Session, YES, YES),
        ] {
            let expected = Start {
                place,
                stdout,
                stderr,
            };
            assert_eq!(
                start(wanted, ours(terminals)),
                expected,
                "{wanted:?} {terminals:?}"
            );
        }
    }
}
