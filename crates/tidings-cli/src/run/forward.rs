//! What goes to the command: signals, keys, and the size of the window.

use std::io::{self, Read as _, Write as _};

use pty_process::blocking::Pty;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::terminal::{self, RawInput};

/// Passes on what comes for the command; our terminal is as before when dropped.
pub(super) struct Forward {
    _signals: JoinSet<()>,
    _raw: Option<RawInput>,
}

impl Forward {
    /// Must be called within the runtime.
    pub(super) fn start(group: Pid, pty: Option<Pty>, keys: bool) -> io::Result<Self> {
        let mut signals = JoinSet::new();
        for (kind, number) in [
            (SignalKind::interrupt(), Signal::INT),
            (SignalKind::terminate(), Signal::TERM),
            (SignalKind::hangup(), Signal::HUP),
            (SignalKind::quit(), Signal::QUIT),
            (SignalKind::user_defined1(), Signal::USR1),
            (SignalKind::user_defined2(), Signal::USR2),
        ] {
            let mut coming = signal(kind)?;
            signals.spawn(async move {
                while coming.recv().await.is_some() {
                    send(group, number);
                }
            });
        }
        let raw = if keys && let Some(pty) = &pty {
            let mut terminal = terminal::duplicate(pty)?;
            let raw = RawInput::enter()?;
            // Ends with the program: nothing interrupts a read of a terminal.
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = io::stdin().read(&mut buffer) {
                    if terminal.write_all(&buffer[..count]).is_err() {
                        return;
                    }
                }
            });
            Some(raw)
        } else {
            None
        };
        if let Some(pty) = pty {
            let mut resized = signal(SignalKind::window_change())?;
            signals.spawn(async move {
                while resized.recv().await.is_some() {
                    if let Some(size) = terminal::size() {
                        let _ = pty.resize(size);
                    }
                }
            });
        }
        Ok(Self {
            _signals: signals,
            _raw: raw,
        })
    }
}

/// A signal to the command and all that it has started.
pub(super) fn send(group: Pid, signal: Signal) {
    // It may have ended just now.
    let _ = kill_process_group(group, signal);
}
