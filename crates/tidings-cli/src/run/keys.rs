//! Keys for a command that has a terminal of its own, and the key that stops it.
//!
//! The command's terminal gives keys their meaning, with one exception. The command is
//! in a session that no shell controls, and the system stops no process there for a
//! terminal. So for Ctrl-Z this program stops the command and itself, and the shell
//! that has started us takes over.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, getpgid, getpgrp, getpid, getppid, getsid, kill_process_group};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr, tcgetpgrp};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal as Coming, SignalKind, signal};

use super::descendants::{Processes, parent_of};
use super::terminal::{self, RawInput};

/// How often it is looked whether we are in the foreground again.
const LOOK: Duration = Duration::from_millis(200);

/// A command that catches the signal has so long to tidy up the screen.
const TIDY: Duration = Duration::from_millis(100);

/// What was shown last is passed on within this time.
const SHOWN: Duration = Duration::from_millis(50);

/// A shell may take long to continue us, but not to have stopped us.
const STOPPED: Duration = Duration::from_secs(10);

/// What happens to the key that stops a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnStop {
    /// The command has a use of its own for it, as shells have.
    Leave,
    /// The command does nothing about it.
    Stop,
    /// The command tidies up first.
    StopAfterTidying,
}

/// The mode of our terminal.
#[derive(Debug, Default)]
enum State {
    /// As we found it.
    #[default]
    Ours,
    /// It hands keys on one by one.
    Raw(#[expect(dead_code, reason = "it is there to be dropped")] RawInput),
    /// As we found it, and to stay so.
    Closed,
}

/// Our terminal's mode while the command has the keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Mode(Arc<Mutex<State>>);

impl Mode {
    /// Hands keys on one by one, if we are in the foreground: a background job must not
    /// touch its terminal. Returns whether that is new.
    fn enter(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Ours)
            && terminal::is_foreground()
            && let Ok(raw) = RawInput::enter()
        {
            *state = State::Raw(raw);
            return true;
        }
        false
    }

    /// Gives our terminal back until [`enter`](Self::enter).
    fn leave(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Ours;
    }

    /// Gives our terminal back for good.
    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Closed;
    }
}

/// Passes keys on to the command's terminal, in a thread that ends with the program. Must
/// be called within the runtime.
pub(super) fn pass_on(mut terminal: File, processes: Processes) -> io::Result<Mode> {
    let mode = Mode::default();
    mode.enter();
    let of_thread = mode.clone();
    let mut continued = Continued {
        runtime: Handle::current(),
        signals: signal(SignalKind::from_raw(Signal::CONT.as_raw()))?,
    };
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Some(count) = read(&mut buffer, &of_thread, &terminal) {
            let mut keys = &buffer[..count];
            while let Some(at) = stop_key(keys, &terminal) {
                if terminal.write_all(&keys[..=at]).is_err() {
                    return;
                }
                stop(&of_thread, &terminal, processes, &mut continued);
                keys = &keys[at + 1..];
            }
            if terminal.write_all(keys).is_err() {
                return;
            }
        }
    });
    Ok(mode)
}

/// Tells when somebody has continued us.
struct Continued {
    runtime: Handle,
    signals: Coming,
}

impl Continued {
    fn forget(&mut self) {
        while self.signals.recv().now_or_never().flatten().is_some() {}
    }

    fn wait(&mut self) {
        let next = async { tokio::time::timeout(STOPPED, self.signals.recv()).await };
        // If we were stopped for longer than this, we go on now as well.
        let _ = self.runtime.block_on(next);
    }
}

/// Returns whether nobody could continue us: the system stops no group then, and neither
/// do we stop the command. Some process of our group must have a parent in another group
/// of our session, which is a shell with job control.
fn is_orphaned() -> bool {
    let (group, session) = (getpgrp(), getsid(None));
    let mut parent = getppid();
    while let Some(process) = parent {
        if getsid(Some(process)) != session {
            return true;
        }
        if getpgid(Some(process)) != Ok(group) {
            return false;
        }
        parent = parent_of(process);
    }
    true
}

/// Waits for keys, as long as we are in the foreground: in the background, reading would
/// stop us.
fn read(buffer: &mut [u8], mode: &Mode, terminal: &File) -> Option<usize> {
    loop {
        let timeout = Timespec::try_from(LOOK).ok()?;
        let stdin = io::stdin();
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        let polled = poll(&mut ready, Some(&timeout));
        if !terminal::is_foreground() {
            std::thread::sleep(LOOK);
            continue;
        }
        if mode.enter() {
            resize(terminal);
        }
        if !matches!(polled, Ok(1..)) {
            continue;
        }
        return match io::stdin().read(buffer) {
            Ok(count @ 1..) => Some(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => None,
        };
    }
}

fn resize(terminal: &File) {
    if let Some(size) = terminal::size() {
        terminal::resize(terminal, size);
    }
}

/// Finds the key that stops a command, if its terminal has one now.
fn stop_key(keys: &[u8], terminal: &File) -> Option<usize> {
    let modes = tcgetattr(terminal).ok()?;
    let key = modes.special_codes[SpecialCodeIndex::VSUSP];
    let obeys = modes.local_modes.contains(LocalModes::ISIG) && key != 0;
    keys.iter().position(|byte| obeys && *byte == key)
}

/// Stops the command and ourselves, and goes on when a shell says so.
fn stop(mode: &Mode, terminal: &File, processes: Processes, continued: &mut Continued) {
    let (ignored, _) = dispositions(getpid());
    if is_orphaned() || contains(ignored, Signal::TSTP) {
        return;
    }
    let foreground = tcgetpgrp(terminal).ok();
    match on_stop(foreground, processes.main(), dispositions(processes.main())) {
        OnStop::Leave => return,
        OnStop::Stop => {}
        OnStop::StopAfterTidying => std::thread::sleep(TIDY),
    }
    // Only its own group, as the system does it: daemons go on.
    processes.pass_on(Signal::STOP);
    // What was shown last comes before the shell's prompt.
    std::thread::sleep(SHOWN);
    mode.leave();
    continued.forget();
    // All of our pipeline stops, as it does by the key.
    if kill_process_group(getpgrp(), Signal::TSTP).is_ok() {
        continued.wait();
    }
    processes.pass_on(Signal::CONT);
    mode.enter();
    resize(terminal);
}

/// Decides by the group in the foreground of the command's terminal, and by the signals
/// that the command ignores and catches.
fn on_stop(foreground: Option<Pid>, main: Pid, (ignored, caught): (u64, u64)) -> OnStop {
    if foreground != Some(main) || contains(ignored, Signal::TSTP) {
        OnStop::Leave
    } else if contains(caught, Signal::TSTP) {
        OnStop::StopAfterTidying
    } else {
        OnStop::Stop
    }
}

/// Returns whether a signal is in a mask, which has a bit for each number less one.
pub(super) fn contains(mask: u64, signal: Signal) -> bool {
    mask & (1 << (signal.as_raw() - 1)) != 0
}

/// Reads which signals a process ignores, and which it catches, as masks. Where that
/// cannot be known, it is taken for a program that does neither.
pub(super) fn dispositions(process: Pid) -> (u64, u64) {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = std::fs::read_to_string(path).unwrap_or_default();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0)
    };
    (mask("SigIgn:"), mask("SigCgt:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_a_use_of_its_own_keeps_the_key() {
        let [main, other] = [7, 8].map(|pid| Pid::from_raw(pid).unwrap());
        const TSTP: u64 = 1 << (20 - 1);
        for (foreground, ignored, caught, expected) in [
            (Some(main), 0, 0, OnStop::Stop),
            (Some(main), 0, TSTP, OnStop::StopAfterTidying),
            (Some(main), TSTP, 0, OnStop::Leave),
            // A job of a shell that is run: the shell sees to it.
            (Some(other), 0, 0, OnStop::Leave),
            (None, 0, 0, OnStop::Leave),
        ] {
            assert_eq!(on_stop(foreground, main, (ignored, caught)), expected);
        }
    }

    #[test]
    fn signals_that_a_process_ignores_are_known() {
        // Rust's runtime ignores SIGPIPE.
        let (ignored, _) = dispositions(rustix::process::getpid());
        let is_linux = cfg!(target_os = "linux");
        assert_eq!(contains(ignored, Signal::PIPE), is_linux, "{ignored:x}");
    }
}
