//! What goes to the command: signals, keys, and the size of the window.

use std::io;

use pty_process::blocking::Pty;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::child::Place;
use super::descendants::Processes;
use super::keys::{self, Mode};
use super::terminal;

/// Passes on what comes for the command; our terminal is as before when dropped.
pub(super) struct Forward {
    _signals: JoinSet<()>,
    mode: Option<Mode>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        if let Some(mode) = &self.mode {
            mode.close();
        }
    }
}

impl Forward {
    /// Must be called within the runtime.
    pub(super) fn start(
        processes: Processes,
        place: Place,
        pty: Option<Pty>,
        has_keys: bool,
    ) -> io::Result<Self> {
        let mut signals = JoinSet::new();
        for (kind, number) in [
            (SignalKind::interrupt(), Signal::INT),
            (SignalKind::quit(), Signal::QUIT),
            (SignalKind::hangup(), Signal::HUP),
            (SignalKind::terminate(), Signal::TERM),
            (SignalKind::user_defined1(), Signal::USR1),
            (SignalKind::user_defined2(), Signal::USR2),
        ] {
            let from_terminal = matches!(number, Signal::INT | Signal::QUIT | Signal::HUP);
            let mut coming = signal(kind)?;
            signals.spawn(async move {
                while coming.recv().await.is_some() {
                    // What a terminal sends goes to its whole foreground group. The
                    // command in our group has it already, and twice means "at once".
                    let has_it = place == Place::OurGroup
                        && from_terminal
                        && terminal::is_foreground_of_controlling();
                    if !has_it {
                        processes.pass_on(number);
                    }
                }
            });
        }
        let mode = match &pty {
            Some(pty) if has_keys => Some(keys::pass_on(terminal::duplicate(pty)?, processes)),
            _ => None,
        };
        if let Some(pty) = pty {
            let mut resized = signal(SignalKind::window_change())?;
            signals.spawn(async move {
                while resized.recv().await.is_some() {
                    if let Some(size) = terminal::size() {
                        terminal::resize(&pty, size);
                        if place == Place::OurGroup {
                            // It had the signal before its terminal had the size.
                            processes.pass_on(Signal::WINCH);
                        }
                    }
                }
            });
        }
        Ok(Self {
            _signals: signals,
            mode,
        })
    }
}
