//! SIGINT and SIGTERM: the first one stops the server in order, the second at once.

use std::io;

use tokio_util::sync::CancellationToken;

/// Ctrl-C, and its exit code by the shell's convention (128 + 2).
const INTERRUPTED: i32 = 130;

/// A service manager's wish (128 + 15).
const TERMINATED: i32 = 143;

/// Cancels `drain` on the first signal from now on; the second ends the
/// process. Must be called inside the runtime.
///
/// # Errors
/// The system gives no signal handlers.
pub(crate) fn install(drain: CancellationToken) -> io::Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping; a second signal stops at once");
        drain.cancel();
        std::process::exit(signals.next().await);
    });
    Ok(())
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for one; gives the code to exit with because of it.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
        }
    }
}

#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    terminate: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_c, ctrl_shutdown};
        Ok(Self {
            interrupt: ctrl_c()?,
            terminate: ctrl_shutdown()?,
        })
    }

    /// Waits for one; gives the code to exit with because of it.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
        }
    }
}

/// SIGHUP, by which service managers ask to read files again.
pub(crate) struct Hangup(#[cfg(unix)] tokio::signal::unix::Signal);

/// From now on, the signal does not end the process.
///
/// # Errors
/// The system gives no signal handlers.
pub(crate) fn hangup() -> io::Result<Hangup> {
    #[cfg(unix)]
    return tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).map(Hangup);
    #[cfg(not(unix))]
    Ok(Hangup())
}

impl Hangup {
    /// Waits for the next one; for ever where there is none.
    pub(crate) async fn recv(&mut self) {
        #[cfg(unix)]
        self.0.recv().await;
        #[cfg(not(unix))]
        std::future::pending::<()>().await;
    }
}
