//! Threads that pass the command's bytes on and keep copies of them.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;
use tidings_client::protocol::LogStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::backlog::{self, Backlog, Copied};
use super::descendants::Processes;
use super::keys::Mode;
use super::terminal;

/// The bytes of copies that may wait for processing.
const COPIES: usize = 4 * 1024 * 1024;

/// The same limit once a flood has exceeded [`COPIES`]. So few bytes stay in the processor's cache,
/// and a report of them takes little time from the command.
const COPIES_OF_FLOOD: usize = 1024 * 1024;

/// The size of the command's pipe, in bytes. While the reader pauses, output gathers in the pipe
/// and the command does not wait.
const ROOM: usize = 1024 * 1024;

/// The bytes per [`WINDOW`] above which a command floods.
const FLOOD: u64 = 256 * 1024;

/// The length of a window. After each window, the pump decides whether the command floods.
const WINDOW: Duration = Duration::from_millis(5);

/// The pause after a read while the command floods. One wake-up then serves many writes. At 1 GB a
/// second, less than a fifth of [`ROOM`] gathers in a pause.
const NAP: Duration = Duration::from_micros(100);

/// The time for which the system may need to write a line feed after its carriage return.
const MOMENT: Duration = Duration::from_millis(5);

/// The time without output after which the pumps stop, once the command has ended. A process that
/// the command has started may still hold the output open.
const IDLE: Duration = Duration::from_millis(500);

/// The longest time for which the pumps carry the output of such a process. The log gets this
/// output. Later output is passed on by [`pass_on`](super::pass_on), and the log does not get it.
const LONGEST: Duration = Duration::from_secs(2);

/// The bytes that a command may write to a terminal without a reader. The terminal may hold a few
/// thousand bytes. A command that writes more ignores SIGPIPE.
const DEAF: u64 = 1024 * 1024;

/// The bytes that a command may write while they cannot be written, for example to a full disk. A
/// command outlives its full disk, and an endless one is ended.
const UNWRITTEN: u64 = 64 * 1024 * 1024;

/// Copies of the command's output, shared by the pump threads and the reader of the copies.
#[derive(Debug, Clone)]
pub(super) struct Copies(Arc<(Mutex<Backlog>, Notify)>);

impl Copies {
    pub(super) fn new() -> Self {
        Self(Arc::new((Mutex::new(Backlog::new()), Notify::new())))
    }

    /// Adds the first `length` bytes of a buffer, and leaves a buffer for the next read. Keeps at
    /// most `most` bytes.
    fn push(&self, stream: LogStream, read: &mut Vec<u8>, length: usize, most: usize) {
        let (backlog, arrived) = &*self.0;
        let mut backlog = backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.push(stream, read, length, most);
        drop(backlog);
        arrived.notify_one();
    }

    /// Takes the next copy, if one waits.
    pub(super) fn try_next(&self) -> Option<Copied> {
        let (backlog, _) = &*self.0;
        let mut backlog = backlog.lock().unwrap_or_else(PoisonError::into_inner);
        backlog.take()
    }

    /// Waits for the next copy and takes it.
    ///
    /// # Cancel safety
    /// Dropping the future loses no copy.
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
    /// The number of bytes read so far.
    read: AtomicU64,
    /// True if all bytes read so far are written and the pump waits for the command.
    idle: AtomicBool,
    done: AtomicBool,
    /// The first error of a write.
    failure: Mutex<Option<io::Error>>,
}

impl Progress {
    fn fail(&self, error: io::Error) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
    }

    /// Takes the error. A closed pipe does not count.
    fn failure(&self) -> Option<io::Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let error = failure.take();
        error.filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }
}

/// The threads of one command.
#[derive(Debug)]
pub(super) struct Pumps {
    copies: Copies,
    threads: Vec<Thread>,
    /// Notified whenever a thread has ended.
    finished: Arc<Notify>,
    /// Dropping the writer stops the threads.
    stop: (Arc<PipeReader>, PipeWriter),
}

#[derive(Debug)]
struct Thread {
    stream: LogStream,
    progress: Arc<Progress>,
    handle: JoinHandle<Option<Rest>>,
}

/// A stream that other processes hold open after the command's end.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) stream: LogStream,
    pub(super) from: OwnedFd,
    pub(super) to: OwnedFd,
}

impl Pumps {
    pub(super) fn new(copies: Copies) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self {
            copies,
            threads: Vec::new(),
            finished: Arc::new(Notify::new()),
            stop: (Arc::new(reader), writer),
        })
    }

    /// Passes bytes on from a pipe to the same stream of this program, until one of them ends.
    pub(super) fn add_pipe(
        &mut self,
        from: impl Into<OwnedFd>,
        stream: LogStream,
    ) -> io::Result<()> {
        let from = File::from(from.into());
        let naps = make_room(from.as_fd());
        self.add(from, stream, None, naps)
    }

    /// Passes bytes on from the terminal of a command.
    pub(super) fn add_terminal(
        &mut self,
        from: File,
        stream: LogStream,
        terminal: Terminal,
    ) -> io::Result<()> {
        self.add(from, stream, Some(terminal), false)
    }

    fn add(
        &mut self,
        from: File,
        stream: LogStream,
        terminal: Option<Terminal>,
        naps: bool,
    ) -> io::Result<()> {
        // The buffer of `io::stdout` would only add a copy.
        let to = match stream {
            LogStream::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
            _ => io::stderr().as_fd().try_clone_to_owned()?,
        };
        let progress = Arc::new(Progress::default());
        let pump = Pump {
            from,
            to: File::from(to),
            terminal,
            naps,
            copies: Some((self.copies.clone(), stream)),
            stop: Some(Arc::clone(&self.stop.0)),
        };
        let (of_thread, finished) = (Arc::clone(&progress), Arc::clone(&self.finished));
        let handle = std::thread::spawn(move || {
            let rest = pump.run(&of_thread);
            of_thread.done.store(true, Ordering::Release);
            finished.notify_one();
            rest.map(|(from, to)| Rest {
                stream,
                from: from.into(),
                to: to.into(),
            })
        });
        self.threads.push(Thread {
            stream,
            progress,
            handle,
        });
        Ok(())
    }

    /// Waits until all output of the command is passed on. The wait includes a slow writer, but not
    /// a stream that only other processes hold open. Returns such streams, and the stream that
    /// could not be written.
    pub(super) async fn drained(self) -> (Vec<Rest>, Option<(LogStream, io::Error)>) {
        const LOOK: Duration = Duration::from_millis(5);
        let finished = self.finished;
        let look = || tokio::time::timeout(LOOK, finished.notified());
        for Thread { progress, .. } in &self.threads {
            let first = progress.read.load(Ordering::Acquire);
            let (mut seen, mut since) = (first, Instant::now());
            // The time at which all output of the command itself was passed on.
            let mut passed: Option<Instant> = None;
            while !progress.done.load(Ordering::Acquire) {
                let read = progress.read.load(Ordering::Acquire);
                let idle = progress.idle.load(Ordering::Acquire);
                if read != seen || !idle {
                    (seen, since) = (read, Instant::now());
                } else if since.elapsed() >= IDLE {
                    break;
                }
                // When the command ended, the pipe held at most `ROOM` bytes.
                if idle || read - first > ROOM as u64 {
                    let passed = passed.get_or_insert_with(Instant::now);
                    if passed.elapsed() >= LONGEST {
                        break;
                    }
                }
                let _ = look().await;
            }
        }
        drop(self.stop);
        let mut rests = Vec::new();
        let mut failed = None;
        for thread in self.threads {
            while !thread.progress.done.load(Ordering::Acquire) {
                let _ = look().await;
            }
            rests.extend(thread.handle.join().ok().flatten());
            if let Some(error) = thread.progress.failure() {
                failed.get_or_insert((thread.stream, error));
            }
        }
        (rests, failed)
    }
}

/// The terminal of a command.
pub(super) struct Terminal {
    /// The processes that use the terminal.
    pub(super) processes: Processes,
    /// The mode of the terminal of this program, if the command's terminal replaces it.
    pub(super) screen: Option<Mode>,
}

/// Removes the carriage returns that the command's terminal has added before line feeds. Returns the
/// number of the remaining bytes.
///
/// The terminal of this program adds them again, for the command and for all others that write to
/// it. If the command's terminal adds none, as for a program that draws on the whole screen, the
/// terminal of this program adds none either.
fn undo_conversion(from: &mut File, screen: &Mode, buffer: &mut [u8], mut count: usize) -> usize {
    let converts = terminal::adds_returns(&*from);
    screen.set_raw_output(!converts);
    if !converts {
        return count;
    }
    // The line feed that belongs to the last carriage return may still be on its way.
    while buffer[..count].ends_with(b"\r")
        && count < buffer.len()
        && has_more(from.as_fd())
        && let Ok(1) = from.read(&mut buffer[count..=count])
    {
        count += 1;
    }
    remove_returns(&mut buffer[..count])
}

/// Waits a moment, and returns true if a file has more bytes.
fn has_more(from: BorrowedFd<'_>) -> bool {
    let mut files = [PollFd::from_borrowed_fd(from, PollFlags::IN)];
    let ready = Timespec::try_from(MOMENT).is_ok_and(|moment| {
        let ready = poll(&mut files, Some(&moment));
        ready.is_ok_and(|ready| ready > 0)
    });
    ready && files[0].revents().contains(PollFlags::IN)
}

/// Removes one carriage return before each line feed. Returns the number of the remaining bytes.
fn remove_returns(bytes: &mut [u8]) -> usize {
    let mut kept = 0;
    for at in 0..bytes.len() {
        let is_added = bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
        if !is_added {
            bytes[kept] = bytes[at];
            kept += 1;
        }
    }
    kept
}

/// Copies bytes from one file to another.
struct Pump {
    from: File,
    to: File,
    /// The terminal of the command, if `from` is one.
    terminal: Option<Terminal>,
    /// True if the pump may pause while the command floods.
    naps: bool,
    copies: Option<(Copies, LogStream)>,
    /// The pump stops when the other end is closed.
    stop: Option<Arc<PipeReader>>,
}

/// Copies bytes from one file to another until one of them ends.
pub(super) fn copy(from: OwnedFd, to: OwnedFd) {
    let pump = Pump {
        from: from.into(),
        to: to.into(),
        terminal: None,
        naps: false,
        copies: None,
        stop: None,
    };
    pump.run(&Progress::default());
}

impl Pump {
    /// Copies until one of the files ends. If the pump is stopped before, returns the files.
    fn run(mut self, progress: &Progress) -> Option<(File, File)> {
        let mut buffer = backlog::buffer();
        let mut flood = Flood::default();
        // True if the output has lost its reader.
        let mut is_deaf = false;
        // The bytes since the last successful write.
        let mut unwritten = 0;
        loop {
            progress.idle.store(true, Ordering::Release);
            if !self.has_input() {
                return Some((self.from, self.to));
            }
            let count = match self.from.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A terminal returns EIO after its last user has closed it.
                Err(_) => return None,
            };
            progress.idle.store(false, Ordering::Release);
            progress.read.fetch_add(count as u64, Ordering::AcqRel);
            let screen = self.terminal.as_ref().and_then(|it| it.screen.as_ref());
            let count = match screen {
                Some(screen) => undo_conversion(&mut self.from, screen, &mut buffer, count),
                None => count,
            };
            flood.count(count, std::time::Instant::now());
            let written = match is_deaf {
                true => Err(io::ErrorKind::BrokenPipe.into()),
                false => write(&mut self.to, &buffer[..count]),
            };
            // The log also gets bytes that could not be written.
            if let Some((copies, stream)) = &self.copies {
                copies.push(*stream, &mut buffer, count, flood.copies());
            }
            if let Err(error) = written {
                let lost_reader = error.kind() == io::ErrorKind::BrokenPipe;
                progress.fail(error);
                unwritten += count as u64;
                let most = if is_deaf { DEAF } else { UNWRITTEN };
                // Closing this end of a pipe tells the command that its reader is gone. A terminal
                // stays open for its input. If it were full, it would block the command.
                match &self.terminal {
                    None if lost_reader || unwritten > most => return None,
                    Some(terminal) if lost_reader && !is_deaf => {
                        terminal.processes.pass_on(Signal::PIPE);
                        is_deaf = true;
                    }
                    Some(terminal) if unwritten > most => {
                        terminal.processes.signal_all(Signal::HUP);
                        unwritten = 0;
                    }
                    _ => {}
                }
                continue;
            }
            unwritten = 0;
            if self.naps && flood.is_on() && count < backlog::READ / 2 {
                std::thread::sleep(NAP);
            }
        }
    }

    /// Waits for bytes, or for the end of the file. Returns false if the pump is stopped. A file
    /// that no process can write any more is still read to its end.
    fn has_input(&self) -> bool {
        let Some(stop) = &self.stop else {
            return true;
        };
        let mut both = [
            PollFd::new(&self.from, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        while let Err(error) = poll(&mut both, None) {
            if error != Errno::INTR {
                // The read fails or waits as well.
                return true;
            }
        }
        both[1].revents().is_empty() || both[0].revents().contains(PollFlags::HUP)
    }
}

/// Detects whether a command writes very much at the moment.
#[derive(Debug, Default)]
struct Flood {
    /// The start of the window, and the bytes since then.
    window: Option<(std::time::Instant, u64)>,
    /// The bytes of the flood, in whole windows. Zero if the command does not flood.
    bytes: u64,
}

impl Flood {
    /// Counts the bytes of a read.
    fn count(&mut self, bytes: usize, now: std::time::Instant) {
        let (began, sum) = self.window.get_or_insert((now, 0));
        *sum += bytes as u64;
        let elapsed = now.duration_since(*began);
        if elapsed >= WINDOW {
            // If the window is longer, the command or this program has paused.
            let most = u128::from(FLOOD) * elapsed.as_micros() / WINDOW.as_micros();
            let is_on = u128::from(*sum) >= most;
            self.bytes = if is_on { self.bytes + *sum } else { 0 };
            self.window = None;
        }
    }

    fn is_on(&self) -> bool {
        self.bytes > 0
    }

    /// Returns how many bytes of copies may wait for processing.
    fn copies(&self) -> usize {
        if self.bytes > COPIES as u64 {
            COPIES_OF_FLOOD
        } else {
            COPIES
        }
    }
}

/// Enlarges a pipe so that its writer need not wait while the reader pauses. Returns true on
/// success.
#[cfg(target_os = "linux")]
fn make_room(pipe: BorrowedFd<'_>) -> bool {
    rustix::pipe::fcntl_setpipe_size(pipe, ROOM).is_ok()
}

/// On other systems, the size of a pipe is fixed.
#[cfg(not(target_os = "linux"))]
fn make_room(_: BorrowedFd<'_>) -> bool {
    false
}

/// Writes all bytes, even to a file that another program has made non-blocking.
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

/// Waits until a file accepts bytes.
fn room(file: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(file, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_added_returns_are_removed() {
        for (bytes, expected) in [
            ("a\r\nb\r\n", "a\nb\n"),
            ("1%\r2%\r\r\n\r", "1%\r2%\r\n\r"),
            ("\n\r\n", "\n\n"),
            ("", ""),
        ] {
            let mut bytes = bytes.as_bytes().to_vec();
            let kept = remove_returns(&mut bytes);
            assert_eq!(&bytes[..kept], expected.as_bytes());
        }
    }

    #[test]
    fn a_flood_is_seen_when_it_begins_and_when_it_ends() {
        let start = std::time::Instant::now();
        let at = |micros: u64| start + Duration::from_micros(micros);
        let mut flood = Flood::default();
        // Write 4 KiB every 10 µs.
        let mut written = |bytes: usize, now| {
            flood.count(bytes, now);
            (flood.is_on(), flood.copies())
        };
        let begins = (0..2_000).find(|step| written(4096, at(step * 10)).0);
        assert!(begins.is_some_and(|step| step <= 502), "{begins:?}");
        // A short flood is kept whole.
        let limited = (501..20_000).find(|step| written(4096, at(step * 10)).1 < COPIES);
        let bytes = limited.expect("a limit") * 4096;
        assert!((4 << 20..8 << 20).contains(&bytes), "{bytes}");
        // An occasional line is no flood, even if one of the lines is large.
        let after = |step: u64| at(200_000 + step * 20_000);
        let mut lines = (1..100).map(|step| written(100_000, after(step))).skip(1);
        assert!(lines.all(|state| state == (false, COPIES)));
    }
}
