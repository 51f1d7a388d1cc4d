//! Threads that pass the command's bytes on, and give copies away.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use tidings_client::protocol::LogStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::{Backlog, Copied};
use super::descendants::Processes;

/// Bytes passed on at a time.
const BYTES: usize = 64 * 1024;

/// Copies that may wait to be looked at, in bytes.
const COPIES: usize = 4 * 1024 * 1024;

/// After the command's end something that it has started may hold its output
/// open. If nothing comes for so long, nothing more is waited for.
const IDLE: Duration = Duration::from_millis(500);

/// Bytes that a command may write to a terminal that nobody reads any more. The
/// terminal may hold a few thousand; whoever writes more ignores SIGPIPE.
const DEAF: u64 = 1024 * 1024;

/// Copies of the command's output, shared by the threads and whoever looks at them.
#[derive(Debug, Clone)]
pub(super) struct Copies(Arc<(Mutex<Backlog>, Notify)>);

impl Copies {
    pub(super) fn new() -> Self {
        Self(Arc::new((Mutex::new(Backlog::new(COPIES)), Notify::new())))
    }

    fn push(&self, stream: LogStream, bytes: &[u8]) {
        let (backlog, arrived) = &*self.0;
        let mut backlog = backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.push(stream, bytes);
        drop(backlog);
        arrived.notify_one();
    }

    /// Takes what comes next, if something waits.
    pub(super) fn try_next(&self) -> Option<Copied> {
        let (backlog, _) = &*self.0;
        let mut backlog = backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.take()
    }

    /// Waits for what comes next and takes it.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(super) async fn next(&self) -> Copied {
        loop {
            if let Some(copied) = self.try_next() {
                return copied;
            }
            self.0.1.notified().await;
        }
    }
}

#[derive(Debug, Default)]
struct Progress {
    /// Bytes read so far.
    read: AtomicU64,
    /// All that was read is written: it waits for the command.
    idle: AtomicBool,
    done: AtomicBool,
    /// The error that ended the writing.
    failure: Mutex<Option<io::Error>>,
}

/// The threads of one command.
#[derive(Debug)]
pub(super) struct Pumps {
    copies: Copies,
    threads: Vec<(LogStream, Arc<Progress>)>,
}

impl Pumps {
    pub(super) fn new(copies: Copies) -> Self {
        Self {
            copies,
            threads: Vec::new(),
        }
    }

    /// Passes bytes on from here to the stream of ours, until one of them ends.
    /// `terminal`: it is a terminal, and these are the processes in it.
    pub(super) fn add(
        &mut self,
        from: impl Read + Send + 'static,
        stream: LogStream,
        terminal: Option<Processes>,
    ) -> io::Result<()> {
        // The buffer of `io::stdout` would only copy.
        let to = File::from(match stream {
            LogStream::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
            _ => io::stderr().as_fd().try_clone_to_owned()?,
        });
        let progress = Arc::new(Progress::default());
        self.threads.push((stream, Arc::clone(&progress)));
        let copies = self.copies.clone();
        std::thread::spawn(move || {
            pump(from, to, stream, &copies, terminal, &progress);
            progress.done.store(true, Ordering::Release);
        });
        Ok(())
    }

    /// Waits until all is passed on. What is written slowly is waited for; what
    /// nobody writes any more is not.
    pub(super) async fn drained(&self) {
        const LOOK: Duration = Duration::from_millis(5);
        for (_, progress) in &self.threads {
            let mut seen = progress.read.load(Ordering::Acquire);
            let mut since = Instant::now();
            while !progress.done.load(Ordering::Acquire) {
                let read = progress.read.load(Ordering::Acquire);
                if read != seen || !progress.idle.load(Ordering::Acquire) {
                    (seen, since) = (read, Instant::now());
                } else if since.elapsed() >= IDLE {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Returns the stream of ours that could not be written, and why. A pipe that
    /// nobody reads any more is none.
    pub(super) fn failure(&self) -> Option<(LogStream, io::Error)> {
        self.threads.iter().find_map(|(stream, progress)| {
            let mut failure = progress.failure.lock();
            let error = failure.as_mut().ok()?.take()?;
            (error.kind() != io::ErrorKind::BrokenPipe).then_some((*stream, error))
        })
    }
}

fn pump(
    mut from: impl Read,
    mut to: File,
    stream: LogStream,
    copies: &Copies,
    terminal: Option<Processes>,
    progress: &Progress,
) {
    let mut buffer = vec![0; BYTES];
    // Bytes read since nobody takes them.
    let mut unwanted: Option<u64> = None;
    loop {
        progress.idle.store(true, Ordering::Release);
        let count = match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A terminal whose last user is gone says EIO.
            Err(_) => return,
        };
        progress.idle.store(false, Ordering::Release);
        progress.read.fetch_add(count as u64, Ordering::AcqRel);
        let bytes = &buffer[..count];
        if let (Some(unwanted), Some(processes)) = (&mut unwanted, terminal) {
            *unwanted += count as u64;
            if *unwanted > DEAF {
                processes.signal_all(Signal::HUP);
                *unwanted = 0;
            }
            continue;
        }
        if let Err(error) = write(&mut to, bytes) {
            let is_pipe = error.kind() == io::ErrorKind::BrokenPipe;
            if let Ok(mut failure) = progress.failure.lock() {
                *failure = Some(error);
            }
            // Closing our end of a pipe is how the command learns of it. A terminal
            // stays open for its input, and would block the command when it is full.
            let Some(processes) = terminal else {
                return;
            };
            if is_pipe {
                processes.pass_on(Signal::PIPE);
            }
            unwanted = Some(0);
            continue;
        }
        copies.push(stream, bytes);
    }
}

/// Writes all bytes, also to a file that another program has made non-blocking.
fn write(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => room(to.as_fd())?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until a file takes bytes.
fn room(file: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(file, PollFlags::OUT)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
