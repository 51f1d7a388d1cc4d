//! Passes keys on to a command with its own terminal, and stops this program when the
//! command stops.
//!
//! The command's terminal gives all keys their meaning. If Ctrl-Z stops the command, this
//! program stops itself. The shell that has started this program then takes over.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpgid, getpgrp, getppid, getsid, kill_process_group};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal as Coming, SignalKind, signal};

use super::descendants::{Processes, parent_of};
use super::terminal::{self, RawInput};

/// The interval of the checks whether this program is in the foreground again.
const LOOK: Duration = Duration::from_millis(200);

/// The time within which the last output is passed on.
pub(super) const SHOWN: Duration = Duration::from_millis(50);

/// The longest wait for the stop to take effect. The shell may continue this program
/// much later.
const STOPPED: Duration = Duration::from_secs(10);

/// The mode of this program's terminal.
#[derive(Debug, Default)]
enum State {
    /// The original mode.
    #[default]
    Ours,
    /// The raw mode, which passes keys on one by one.
    Raw(RawInput),
    /// The original mode, while the shell has the terminal.
    Stopped,
    /// The original mode, for good.
    Closed,
}

/// The mode of this program's terminal while the command receives the keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Mode(Arc<Mutex<State>>);

impl Mode {
    /// Switches to raw mode if this program is in the foreground. A background job must
    /// not change its terminal. Returns true if the mode has changed.
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

    /// Makes this program's terminal pass output on unchanged, or as it does for others.
    pub(super) fn set_raw_output(&self, raw_output: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Raw(raw) = &mut *state {
            raw.set_raw_output(raw_output);
        }
    }

    /// Restores the terminal until [`resume`](Self::resume).
    fn leave(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Stopped;
    }

    /// Allows the raw mode again.
    fn resume(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Stopped) {
            *state = State::Ours;
        }
        drop(state);
        self.enter();
    }

    /// Restores the terminal for good.
    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::Closed;
    }
}

/// Passes keys on to the command's terminal, in a thread that ends with the program.
pub(super) fn pass_on(mut terminal: File) -> Mode {
    let mode = Mode::default();
    mode.enter();
    let of_thread = mode.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Some(count) = read(&mut buffer, &of_thread, &terminal) {
            if terminal.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
    mode
}

/// Waits until another process has continued this program.
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
        // If this program was stopped for longer than the limit, it continues now as
        // well.
        let _ = self.runtime.block_on(next);
    }
}

/// Returns true if no process could continue this program. The system does not stop
/// such a group, so the command does not stay stopped either. In any other group, a
/// process has its parent in the same session but another group: a job-control shell.
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

/// Waits for keys while this program is in the foreground. In the background, a read
/// would stop this program.
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
        // Rust's own `Stdin` would keep keys in a buffer that `poll` does not know.
        return match rustix::io::read(&stdin, &mut *buffer) {
            Ok(count @ 1..) => Some(count),
            Err(Errno::INTR) => continue,
            _ => None,
        };
    }
}

fn resize(terminal: &File) {
    if let Some(size) = terminal::size() {
        terminal::resize(terminal, size);
    }
}

/// Stops this program when the command stops.
pub(super) struct Stopper {
    mode: Mode,
    terminal: File,
    processes: Processes,
    continued: Continued,
}

impl Stopper {
    /// Must be called within the runtime.
    pub(super) fn new(mode: Mode, terminal: File, processes: Processes) -> io::Result<Self> {
        let continued = Continued {
            runtime: Handle::current(),
            signals: signal(SignalKind::from_raw(Signal::CONT.as_raw()))?,
        };
        Ok(Self {
            mode,
            terminal,
            processes,
            continued,
        })
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode.clone()
    }

    /// Stops this program, because the command has stopped. Continues both when the shell
    /// asks for it.
    pub(super) fn stop(&mut self) {
        // Let the last output appear before the shell's prompt.
        std::thread::sleep(SHOWN);
        if !is_orphaned() && !contains(ignored(), Signal::TSTP) {
            self.mode.leave();
            self.continued.forget();
            // Stop the whole pipeline, as the key does.
            if kill_process_group(getpgrp(), Signal::TSTP).is_ok() {
                self.continued.wait();
            }
        }
        self.processes.pass_on(Signal::CONT);
        self.mode.resume();
        resize(&self.terminal);
    }
}

/// Returns true if a mask contains a signal. Bit `n - 1` of the mask stands for signal
/// `n`.
pub(super) fn contains(mask: u64, signal: Signal) -> bool {
    mask & (1 << (signal.as_raw() - 1)) != 0
}

/// Returns the signals that this program ignores, as a mask. If the system does not reveal
/// them, the mask is empty.
pub(super) fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_this_program_ignores_are_known() {
        // Rust's runtime ignores SIGPIPE.
        let ignored = ignored();
        let is_linux = cfg!(target_os = "linux");
        assert_eq!(contains(ignored, Signal::PIPE), is_linux, "{ignored:x}");
    }
}
