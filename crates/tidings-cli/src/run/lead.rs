//! The session of a command that has its own terminal.
//!
//! When the leader of a session ends, the system sends SIGHUP to the foreground of its
//! terminal. Processes that a command leaves behind must not get this signal. Another
//! process of this program therefore leads the session, and the command is its child:
//!
//! ```text
//! tidings run ── tidings lead ── tidings enter, which becomes the command
//! ```
//!
//! The leader gives the foreground to the command, as a shell does, and reports how the
//! command stops and ends. It stays until its session has no other process. A socket,
//! which is the standard input of the leader, connects it to `tidings run`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, PipeReader, PipeWriter, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pty_process::blocking::{Command as PtyCommand, Pts};
use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, waitpid};
use rustix::termios::tcsetpgrp;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::child::error;
use super::descendants;
use super::this_program::{NAME, take_name, this_program};
use crate::Failure;

/// The names of the hidden commands.
const LEAD: &str = "lead";
const ENTER: &str = "enter";

/// The descriptors that [`enter`] receives: the command's three streams, and a pipe for the error
/// if the command cannot be run.
const DESCRIPTORS: usize = 4;

/// Lead the session of a command that has a terminal of its own
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

/// The session of a command, as `tidings run` sees it.
#[derive(Debug)]
pub(super) struct Session {
    /// The process that leads the session.
    pub(super) leader: Pid,
    /// The command's own process.
    pub(super) main: Pid,
    control: UnixStream,
}

/// The streams of a command that is about to start.
pub(super) struct Streams {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

impl Session {
    /// Starts a command in a session of its own, which this terminal controls.
    pub(super) fn start(
        command: &[OsString],
        variables: &[(&str, String)],
        pts: Pts,
        streams: Streams,
    ) -> io::Result<Self> {
        let (mut control, theirs) = UnixStream::pair()?;
        let mut leader = PtyCommand::new(this_program()?);
        for (name, value) in variables {
            leader = leader.env(name, value);
        }
        let leader = leader
            .arg0(NAME)
            .arg(LEAD)
            .arg("--")
            .args(command)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn(pts)
            .map_err(error)?;
        let leader = Pid::from_child(&leader);
        let number = read_number(&mut control)?;
        if number < 0 {
            return Err(io::Error::from_raw_os_error(-number));
        }
        let main = Pid::from_raw(number).ok_or(io::ErrorKind::InvalidData)?;
        let (problem, sender) = io::pipe()?;
        send(&control, &streams, &sender)?;
        // From now on, only the command holds them.
        drop((streams, sender));
        match cause(problem, &control)? {
            Some(cause) => Err(cause),
            None => Ok(Self {
                leader,
                main,
                control,
            }),
        }
    }

    /// Waits until the command has ended. Calls the function whenever a signal of the
    /// terminal has stopped the command.
    pub(super) fn wait(mut self, mut stopped: impl FnMut()) -> io::Result<ExitStatus> {
        loop {
            let status = ExitStatus::from_raw(read_number(&mut self.control)?);
            match status.stopped_signal().and_then(Signal::from_named_raw) {
                // `kill -STOP` is for the command only.
                Some(Signal::TSTP | Signal::TTIN | Signal::TTOU) => stopped(),
                _ if status.code().or(status.signal()).is_some() => return Ok(status),
                _ => {}
            }
        }
    }
}

/// Reads why a command could not be run. Returns `None` if it runs, or was killed before it could
/// tell.
fn cause(mut problem: PipeReader, control: &UnixStream) -> io::Result<Option<io::Error>> {
    let mut both = [
        PollFd::new(&problem, PollFlags::IN),
        PollFd::new(control, PollFlags::IN),
    ];
    retry_on_intr(|| poll(&mut both, None))?;
    if both[0].revents().is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    problem.read_to_end(&mut bytes)?;
    let bytes = <[u8; 4]>::try_from(bytes);
    Ok(bytes
        .ok()
        .map(|bytes| io::Error::from_raw_os_error(i32::from_ne_bytes(bytes))))
}

fn read_number(control: &mut UnixStream) -> io::Result<i32> {
    let mut bytes = [0; 4];
    control.read_exact(&mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// Passes the descriptors to the process that becomes the command. It starts the command now.
fn send(control: &UnixStream, streams: &Streams, problem: &PipeWriter) -> io::Result<()> {
    let all = [
        streams.stdin.as_fd(),
        streams.stdout.as_fd(),
        streams.stderr.as_fd(),
        problem.as_fd(),
    ];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&all));
    let byte = [IoSlice::new(&[0])];
    retry_on_intr(|| sendmsg(control, &byte, &mut ancillary, SendFlags::empty()))?;
    Ok(())
}

fn receive(control: BorrowedFd<'_>) -> io::Result<[OwnedFd; DESCRIPTORS]> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    retry_on_intr(|| {
        let mut bytes = [IoSliceMut::new(&mut byte)];
        recvmsg(control, &mut bytes, &mut ancillary, RecvFlags::empty())
    })?;
    let rights = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let all: Vec<OwnedFd> = rights.flatten().collect();
    for descriptor in &all {
        // Not every system can do this while it receives them.
        fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    }
    all.try_into()
        .map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

/// Leads the session of a command: starts the command, and reports how it stops and ends.
pub(crate) fn lead(arguments: &Arguments) -> Result<ExitCode, Failure> {
    take_name();
    led(arguments).map_err(Failure::System)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the process that becomes the command, in the foreground of the terminal.
fn start_entering(arguments: &Arguments) -> io::Result<Pid> {
    let command = Command::new(this_program()?)
        .arg0(NAME)
        .arg(ENTER)
        .arg("--")
        .args(&arguments.command)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let main = Pid::from_child(&command);
    // The command has not begun yet. From its first moment, it is in the foreground.
    tcsetpgrp(File::open("/dev/tty")?, main)?;
    Ok(main)
}

fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error())
}

fn led(arguments: &Arguments) -> io::Result<()> {
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let main = match start_entering(arguments) {
        Ok(main) => main,
        Err(error) => {
            // A number below zero is the reason why there is no process.
            let _ = control.write_all(&(-number_of(&error)).to_ne_bytes());
            return Err(error);
        }
    };
    control.write_all(&main.as_raw_nonzero().get().to_ne_bytes())?;
    // When the last user of the terminal has gone, the system sends SIGHUP to the leader. If the
    // leader died of it, the foreground would get SIGHUP as well.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let _caught = runtime.block_on(async { signal(SignalKind::hangup()) })?;
    // The leader may stay for long, and must not hold a folder.
    std::env::set_current_dir("/")?;
    let has_ended = Arc::new(AtomicBool::new(false));
    end_with_the_runner(control.try_clone()?, Arc::clone(&has_ended));
    loop {
        let Some((_, status)) = retry_on_intr(|| waitpid(Some(main), WaitOptions::UNTRACED))?
        else {
            continue;
        };
        if is_end(status) {
            has_ended.store(true, Ordering::Release);
        }
        // If `tidings run` has gone, there is nobody to tell.
        let _ = control.write_all(&status.as_raw().to_ne_bytes());
        if is_end(status) {
            break;
        }
    }
    descendants::wait_for_session();
    Ok(())
}

fn is_end(status: WaitStatus) -> bool {
    status.exited() || status.signaled()
}

/// Ends the leader, and with it the terminal, if `tidings run` is killed while the command runs.
fn end_with_the_runner(control: UnixStream, has_ended: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        // Only the end of the other side is of interest, which needs no request.
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(&control, PollFlags::empty())], None) {}
        if !has_ended.load(Ordering::Acquire) {
            std::process::exit(1);
        }
    });
}

/// Becomes the command as soon as its streams arrive.
pub(crate) fn enter(arguments: &Arguments) -> Result<ExitCode, Failure> {
    take_name();
    let received = receive(io::stdin().as_fd()).map_err(Failure::System)?;
    let [stdin, stdout, stderr, problem] = received;
    let mut command = Command::new(&arguments.command[0]);
    command.args(&arguments.command[1..]);
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let cause = command.exec();
    let _ = File::from(problem).write_all(&number_of(&cause).to_ne_bytes());
    Err(Failure::System(cause))
}
