//! The command's process, started with its own terminal or with pipes.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};

use pty_process::blocking::Pty;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tidings_client::protocol::LogStream;
use tokio::sync::oneshot;

use super::descendants::Processes;
use super::forward::{Caught, Forward};
use super::keys::SHOWN;
use super::lead::{Session, Streams};
use super::pump::{Copies, Pumps, Rest, Terminal};
use super::terminal;

/// The choice between a terminal and pipes for the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PtyWanted {
    /// If `tidings run` has a terminal: each of stdout and stderr that is one stays one.
    Auto,
    /// Always, for its output. Tools then show progress in a script or in CI as well.
    Always,
    /// Never: its output goes into pipes.
    Never,
}

/// The streams of `tidings run` that are terminals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminals {
    /// True if stdin is a terminal and `tidings run` is in its foreground. Keys then
    /// reach this program.
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// True if `/dev/tty` can be opened.
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

/// The session and process group of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The command has its own session, controlled by a new terminal.
    Session,
    /// The command is in the process group of `tidings run`. The two share the
    /// terminal: its foreground, its keys and the other commands of the pipeline.
    OurGroup,
    /// The command has its own process group, and no terminal exists to share.
    OwnGroup,
}

/// The way to start a command: its place, and whether stdout and stderr are terminals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) place: Place,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

/// Decides the way to start a command.
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

/// A running command.
pub(super) struct Running {
    processes: Processes,
    pumps: Pumps,
    exit: oneshot::Receiver<io::Result<ExitStatus>>,
    forward: Forward,
}

impl Running {
    /// Starts the command, with threads that carry its bytes.
    pub(super) fn start(
        command: &[OsString],
        variables: &[(&str, String)],
        wanted: PtyWanted,
        copies: Copies,
        mut caught: Option<Caught>,
    ) -> io::Result<Self> {
        let ours = Terminals::ours();
        let start = start(wanted, ours);
        let keys = start.place == Place::Session && ours.stdin;
        // The command's terminal takes the place of the terminal of this program.
        let replaces = keys && ours.stdout && terminal::are_one(io::stdin(), io::stdout());
        let early = caught.as_mut().map(Caught::take).unwrap_or_default();
        let Spawned {
            process,
            pty,
            pipes,
        } = spawn(command, variables, start, ours.stdin, replaces)?;
        let (main, leader) = process.ids();
        let processes = Processes::new(main, start.place != Place::OurGroup, leader);
        // Signals that arrived before the command started are for the command too.
        let caught = caught.map_or_else(Caught::new, Ok)?;
        for signal in early {
            processes.pass_on(signal);
        }
        let reader = pty.as_ref().map(terminal::duplicate).transpose()?;
        // Connect the keys before the output appears, so that answers to it reach the
        // command.
        let (forward, mut stopper) = Forward::start(caught, processes, start.place, pty, keys)?;
        let mut pumps = Pumps::new(copies)?;
        for (stream, pipe) in pipes {
            pumps.add_pipe(pipe, stream)?;
        }
        if let Some(reader) = reader {
            let stream = if start.stdout {
                LogStream::Stdout
            } else {
                LogStream::Stderr
            };
            let screen = forward.mode().filter(|_| replaces);
            pumps.add_terminal(reader, stream, Terminal { processes, screen })?;
        }
        let (sender, exit) = oneshot::channel();
        std::thread::spawn(move || {
            let status = match process {
                Process::Child(mut child) => child.wait(),
                Process::Led(session) => session.wait(|| match &mut stopper {
                    Some(stopper) => stopper.stop(),
                    // No key has stopped the command, and no key could continue it.
                    None => {
                        // It may stop again at once, and must not take a whole core with it.
                        std::thread::sleep(SHOWN);
                        processes.pass_on(Signal::CONT);
                    }
                }),
            };
            // The receiver is dropped only when the program ends.
            let _ = sender.send(status);
        });
        Ok(Self {
            processes,
            pumps,
            exit,
            forward,
        })
    }

    /// Returns the command's processes.
    pub(super) fn processes(&self) -> Processes {
        self.processes
    }

    /// Waits until the command has ended. The future may be dropped and the call
    /// repeated.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let ended = (&mut self.exit).await;
        ended.unwrap_or_else(|_| Err(io::Error::other("nobody waits for the command")))
    }

    /// Waits after the command's end until all its output is passed on. Then restores
    /// the terminal of `tidings run`. Returns the streams that other processes hold
    /// open, and the stream that could not be written.
    pub(super) async fn drained(self) -> (Vec<Rest>, Option<(LogStream, io::Error)>) {
        let drained = self.pumps.drained().await;
        drop(self.forward);
        drained
    }
}

/// A command that has just started.
struct Spawned {
    process: Process,
    /// The command's terminal, if it has one.
    pty: Option<Pty>,
    /// The streams that are not a terminal.
    pipes: Vec<(LogStream, OwnedFd)>,
}

/// The process of a command.
enum Process {
    Child(Child),
    Led(Session),
}

impl Process {
    /// Returns the id of the command's own process, and of the process that leads its
    /// session.
    fn ids(&self) -> (Pid, Option<Pid>) {
        match self {
            Self::Child(child) => (Pid::from_child(child), None),
            Self::Led(session) => (session.main, Some(session.leader)),
        }
    }
}

fn spawn(
    command: &[OsString],
    variables: &[(&str, String)],
    start: Start,
    typed: bool,
    replaces: bool,
) -> io::Result<Spawned> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let pair = if start.stdout || start.stderr {
        let (pty, pts) = pty_process::blocking::open().map_err(error)?;
        terminal::prepare(&pty, &pts, replaces)?;
        Some((pty, pts))
    } else {
        None
    };
    let pts = pair.as_ref().map(|(_, pts)| pts);
    let mut pipes = Vec::new();
    let mut stream = |name, is_terminal| match pts {
        Some(pts) if is_terminal => pts.as_fd().try_clone_to_owned(),
        _ => {
            let (reader, writer) = io::pipe()?;
            pipes.push((name, reader.into()));
            Ok(writer.into())
        }
    };
    let stdout = stream(LogStream::Stdout, start.stdout)?;
    // After `2>&1`, two pipes would not keep the order of the command's writes.
    let are_one = !start.stdout && !start.stderr && terminal::are_one(io::stdout(), io::stderr());
    let stderr = match are_one {
        true => stdout.try_clone()?,
        false => stream(LogStream::Stderr, start.stderr)?,
    };
    if start.place == Place::Session
        && let Some((pty, pts)) = pair
    {
        let stdin = match typed {
            true => pts.as_fd().try_clone_to_owned()?,
            false => io::stdin().as_fd().try_clone_to_owned()?,
        };
        let streams = Streams {
            stdin,
            stdout,
            stderr,
        };
        let session = Session::start(command, variables, pts, streams)?;
        return Ok(Spawned {
            process: Process::Led(session),
            pty: Some(pty),
            pipes,
        });
    }
    let spawn = |mut started: Command| {
        started.args(arguments);
        started.envs(variables.iter().map(|(name, value)| (name, value)));
        if start.place == Place::OwnGroup {
            started.process_group(0);
        }
        started.stdout(stdout.try_clone()?);
        started.stderr(stderr.try_clone()?);
        started.spawn()
    };
    let child = match spawn(Command::new(program)) {
        // A script without `#!`. As every shell does, let a shell run it.
        Err(error) if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "exec \"$0\" \"$@\""]).arg(program);
            spawn(shell)
        }
        child => child,
    };
    Ok(Spawned {
        process: Process::Child(child?),
        pty: pair.map(|(pty, _)| pty),
        pipes,
    })
}

pub(super) fn error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the flags in the order stdin, stdout, stderr, controlling terminal.
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
            // In turn: in a shell; `| less`; `</dev/null`; `2>file`; `>file 2>&1`.
            (Auto, [YES, YES, YES, YES], Session, YES, YES),
            (Auto, [YES, NO, YES, YES], OurGroup, NO, YES),
            (Auto, [NO, YES, YES, YES], OurGroup, YES, YES),
            (Auto, [YES, YES, NO, YES], Session, YES, NO),
            (Auto, [YES, NO, NO, YES], OurGroup, NO, NO),
            // In turn: in the background of a shell; without any terminal.
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
