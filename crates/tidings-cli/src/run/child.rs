//! The command's process: started with a terminal of its own or with pipes, in
//! a process group of its own.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};

use pty_process::blocking::{Command as PtyCommand, Pty};
use rustix::process::Pid;
use tidings_client::protocol::LogStream;
use tokio::sync::oneshot;

use super::forward::Forward;
use super::pump::{Copies, Pumps};
use super::terminal;

/// Whether the command gets a terminal of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum PtyWanted {
    /// Where we are in one: whatever of ours is a terminal is one for it, too.
    Auto,
    /// In any case, for its output.
    Always,
    /// Pipes, whatever we have.
    Never,
}

/// A command that runs.
pub(super) struct Running {
    group: Pid,
    pumps: Pumps,
    exit: oneshot::Receiver<io::Result<ExitStatus>>,
    forward: Forward,
}

impl Running {
    /// Starts it, with threads that carry its bytes.
    pub(super) fn start(
        command: &[OsString],
        wanted: PtyWanted,
        copies: Copies,
    ) -> io::Result<Self> {
        let (stdin, stdout, stderr) = match wanted {
            PtyWanted::Auto => (
                io::stdin().is_terminal() && terminal::is_foreground(),
                io::stdout().is_terminal(),
                io::stderr().is_terminal(),
            ),
            PtyWanted::Always => (io::stdin().is_terminal(), true, true),
            PtyWanted::Never => (false, false, false),
        };
        let mut pumps = Pumps::new(copies);
        let (child, pty) = if stdin || stdout || stderr {
            let (child, pty) = in_terminal(command, [stdin, stdout, stderr])?;
            (child, Some(pty))
        } else {
            let mut plain = Command::new(&command[0]);
            plain.args(&command[1..]).process_group(0);
            plain.stdout(Stdio::piped()).stderr(Stdio::piped());
            (plain.spawn()?, None)
        };
        Self::carry(child, pty, [stdin, stdout, stderr], &mut pumps).map(
            |(group, exit, forward)| Self {
                group,
                pumps,
                exit,
                forward,
            },
        )
    }

    fn carry(
        mut child: Child,
        pty: Option<Pty>,
        [stdin, stdout, stderr]: [bool; 3],
        pumps: &mut Pumps,
    ) -> io::Result<(Pid, oneshot::Receiver<io::Result<ExitStatus>>, Forward)> {
        let group = Pid::from_child(&child);
        if let Some(pipe) = child.stdout.take() {
            pumps.add(pipe, LogStream::Stdout, None)?;
        }
        if let Some(pipe) = child.stderr.take() {
            pumps.add(pipe, LogStream::Stderr, None)?;
        }
        if let Some(pty) = &pty {
            let reader = terminal::duplicate(pty)?;
            if stdout {
                pumps.add(reader, LogStream::Stdout, Some(group))?;
            } else if stderr {
                pumps.add(reader, LogStream::Stderr, Some(group))?;
            }
        }
        let forward = Forward::start(group, pty, stdin)?;
        let (sender, exit) = oneshot::channel();
        std::thread::spawn(move || {
            // Whoever waited is gone only when the program ends.
            let _ = sender.send(child.wait());
        });
        Ok((group, exit, forward))
    }

    /// Its process group, which is also its own process id.
    pub(super) fn group(&self) -> Pid {
        self.group
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

/// Starts the command in a session of its own, with a new terminal in place of
/// each of its streams that is to be one.
fn in_terminal(command: &[OsString], streams: [bool; 3]) -> io::Result<(Child, Pty)> {
    let (pty, pts) = pty_process::blocking::open().map_err(error)?;
    terminal::prepare(&pty, &pts)?;
    let mut started = PtyCommand::new(&command[0]).args(&command[1..]);
    let [stdin, stdout, stderr] = streams;
    if !stdin {
        started = started.stdin(Stdio::inherit());
    }
    if !stdout {
        started = started.stdout(Stdio::piped());
    }
    if !stderr {
        started = started.stderr(Stdio::piped());
    }
    let child = started.spawn(pts).map_err(error)?;
    Ok((child, pty))
}

fn error(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
