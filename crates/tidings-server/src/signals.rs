//! Signals: the first SIGINT or SIGTERM stops the server in order, the second at once. SIGHUP
//! reloads.

use std::io;

use tokio_util::sync::CancellationToken;

/// The exit code after Ctrl-C, by the convention of shells (128 + 2).
const INTERRUPTED: i32 = 130;

/// The exit code after a service manager's SIGTERM (128 + 15).
const TERMINATED: i32 = 143;

#[cfg(unix)]
fn stops() -> io::Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)> {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = signal(SignalKind::interrupt())?;
    Ok((interrupt, signal(SignalKind::terminate())?))
}

#[cfg(windows)]
fn stops() -> io::Result<(
    tokio::signal::windows::CtrlC,
    tokio::signal::windows::CtrlShutdown,
)> {
    use tokio::signal::windows::{ctrl_c, ctrl_shutdown};
    Ok((ctrl_c()?, ctrl_shutdown()?))
}

/// Cancels `drain` on the first signal. The second signal ends the process.
pub(crate) fn install(drain: CancellationToken) -> io::Result<()> {
    let (mut interrupt, mut terminate) = stops()?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            }
        };
        next().await;
        tracing::info!("stopping; a second signal stops at once");
        drain.cancel();
        std::process::exit(next().await);
    });
    Ok(())
}

/// Calls `reload` on every SIGHUP, on systems that have this signal.
pub(crate) fn on_hangup(reload: impl Fn() + Send + 'static) -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                reload();
            }
        });
    }
    #[cfg(not(unix))]
    drop(reload);
    Ok(())
}
