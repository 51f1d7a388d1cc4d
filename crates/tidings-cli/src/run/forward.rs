//! Forwards signals, keys and the window size to the command.

use std::io;

use futures_util::FutureExt as _;
use pty_process::blocking::Pty;
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Coming, SignalKind, signal};
use tokio::task::JoinSet;

use super::child::Place;
use super::descendants::Processes;
use super::keys::{self, Mode, Stopper};
use super::terminal;

/// Caught signals that wait to be passed on to the command.
#[derive(Debug, Default)]
pub(super) struct Caught(Vec<(Signal, Coming)>);

impl Caught {
    /// Catches the signals for the command from now on. If this program ignores a
    /// signal, as it does below `nohup`, the command ignores it as well. Must be called
    /// within the runtime.
    pub(super) fn new() -> io::Result<Self> {
        let ignored = keys::ignored();
        let mut caught = Vec::new();
        for (kind, number) in [
            (SignalKind::interrupt(), Signal::INT),
            (SignalKind::quit(), Signal::QUIT),
            (SignalKind::hangup(), Signal::HUP),
            (SignalKind::terminate(), Signal::TERM),
            (SignalKind::user_defined1(), Signal::USR1),
            (SignalKind::user_defined2(), Signal::USR2),
        ] {
            if !keys::contains(ignored, number) {
                caught.push((number, signal(kind)?));
            }
        }
        Ok(Self(caught))
    }

    /// Takes the signals that have arrived so far.
    pub(super) fn take(&mut self) -> Vec<Signal> {
        let come = self.0.iter_mut().filter_map(|(number, coming)| {
            let come = coming.recv().now_or_never();
            come.flatten().map(|()| *number)
        });
        come.collect()
    }
}

/// Waits for a signal that ends this program, after the command has ended.
pub(super) async fn interrupted() {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Forwards signals, keys and the window size. Dropping it restores the terminal of
/// `tidings run`.
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
    /// Returns the mode of this program's terminal, if the command gets its keys.
    pub(super) fn mode(&self) -> Option<Mode> {
        self.mode.clone()
    }

    /// Starts to forward. If the command gets the keys, also returns what stops this
    /// program when they stop the command. Must be called within the runtime.
    pub(super) fn start(
        caught: Caught,
        processes: Processes,
        place: Place,
        pty: Option<Pty>,
        has_keys: bool,
    ) -> io::Result<(Self, Option<Stopper>)> {
        let mut signals = JoinSet::new();
        for (number, mut coming) in caught.0 {
            let from_terminal = matches!(number, Signal::INT | Signal::QUIT | Signal::HUP);
            signals.spawn(async move {
                while coming.recv().await.is_some() {
                    // A terminal sends its signals to the whole foreground group. A
                    // command in this program's group has already received this one.
                    // Programs take a second one as "stop at once".
                    let has_it = place == Place::OurGroup
                        && from_terminal
                        && terminal::is_foreground_of_controlling();
                    if !has_it {
                        processes.pass_on(number);
                    }
                }
            });
        }
        let stopper = match &pty {
            Some(pty) if has_keys => {
                let mode = keys::pass_on(terminal::duplicate(pty)?);
                Some(Stopper::new(mode, terminal::duplicate(pty)?, processes)?)
            }
            _ => None,
        };
        let mode = stopper.as_ref().map(Stopper::mode);
        if let Some(pty) = pty {
            let mut resized = signal(SignalKind::window_change())?;
            signals.spawn(async move {
                while resized.recv().await.is_some() {
                    if let Some(size) = terminal::size() {
                        terminal::resize(&pty, size);
                        if place == Place::OurGroup {
                            // The command has received the signal before its terminal
                            // had the new size. Send it again.
                            processes.pass_on(Signal::WINCH);
                        }
                    }
                }
            });
        }
        let forward = Self {
            _signals: signals,
            mode,
        };
        Ok((forward, stopper))
    }
}
