//! Threads that pass the command's bytes on, and give a copy away.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tidings_client::protocol::LogStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Bytes passed on at a time.
const BYTES: usize = 16 * 1024;

/// After the command's end something that it has started may hold its output
/// open. So long nothing must come before that is no longer waited for.
const IDLE: Duration = Duration::from_millis(500);

/// A copy of some output.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) stream: LogStream,
    pub(super) bytes: Vec<u8>,
    /// Bytes that came before it and of which there is no copy.
    pub(super) missed: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// Bytes read so far.
    read: AtomicU64,
    /// All that was read is written: it waits for the command.
    idle: AtomicBool,
    done: AtomicBool,
}

/// The threads of one command.
#[derive(Debug, Default)]
pub(super) struct Pumps(Vec<Arc<Progress>>);

impl Pumps {
    /// Passes bytes on from here to there until one of them ends.
    pub(super) fn add(
        &mut self,
        from: impl Read + Send + 'static,
        to: impl Write + Send + 'static,
        stream: LogStream,
        copies: mpsc::Sender<Piece>,
    ) {
        let progress = Arc::new(Progress::default());
        self.0.push(Arc::clone(&progress));
        std::thread::spawn(move || {
            pump(from, to, stream, &copies, &progress);
            progress.done.store(true, Ordering::Release);
        });
    }

    /// Waits until all is passed on. What is written slowly is waited for; what
    /// nobody writes any more is not.
    pub(super) async fn drained(&self) {
        const LOOK: Duration = Duration::from_millis(5);
        for progress in &self.0 {
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
}

fn pump(
    mut from: impl Read,
    mut to: impl Write,
    stream: LogStream,
    copies: &mpsc::Sender<Piece>,
    progress: &Progress,
) {
    let mut buffer = vec![0; BYTES];
    let mut missed = 0;
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
        // Nobody reads any more: closing our end is how the command learns of it.
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
        let piece = Piece {
            stream,
            bytes: bytes.to_vec(),
            missed,
        };
        // The command is not held up by whoever looks at the copies.
        match copies.try_send(piece) {
            Ok(()) => missed = 0,
            Err(_) => missed += count as u64,
        }
    }
}
