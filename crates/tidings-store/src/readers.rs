//! The threads that read from disk.
//!
//! They are always the same few threads. Tokio's pool started a new thread for a read whenever the
//! last one had just finished and was not idle yet. There were 177 threads after 90,000 reads, and
//! the allocator kept memory for each of them: 160 MiB that nobody had charged.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use crate::defaults;

type Read = Box<dyn FnOnce() + Send>;

/// A few threads. They end when this is dropped and their reads are done.
pub(crate) struct Readers {
    reads: mpsc::Sender<Read>,
    /// The places of reads that wait or run, so that a caller that gives up leaves no heap of them.
    places: Arc<Semaphore>,
}

impl Readers {
    /// Starts the threads.
    pub(crate) fn start() -> io::Result<Self> {
        let (reads, waiting) = mpsc::channel::<Read>();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..defaults::READERS {
            let waiting = Arc::clone(&waiting);
            let next = move || {
                // One thread waits for the next read, and the others wait for that thread.
                let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.recv()
            };
            thread::Builder::new()
                .name("tidings-read".to_owned())
                .spawn(move || {
                    while let Ok(read) = next() {
                        // The caller learns of a panic because its channel closes.
                        let _ = catch_unwind(AssertUnwindSafe(read));
                    }
                })?;
        }
        Ok(Self {
            reads,
            places: Arc::new(Semaphore::new(defaults::MAX_READS)),
        })
    }

    /// Calls `read` on one of the threads. Returns `None` if it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let (done, result) = oneshot::channel();
        let read = Box::new(move || {
            let _place = place;
            if !done.is_closed() {
                // An error means only that the caller no longer waits.
                let _ = done.send(read());
            }
        });
        self.reads.send(read).ok()?;
        result.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn any_number_of_reads_use_a_few_threads() {
        let readers = Arc::new(Readers::start().unwrap());
        let mut reading = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let readers = Arc::clone(&readers);
            reading.spawn(async move {
                let mut seen = HashSet::new();
                for _ in 0..100 {
                    seen.extend(readers.run(|| thread::current().id()).await);
                }
                seen
            });
        }
        let seen: HashSet<_> = reading.join_all().await.into_iter().flatten().collect();
        assert!((1..=defaults::READERS).contains(&seen.len()), "{seen:?}");
    }

    #[tokio::test]
    async fn a_read_that_panics_harms_no_other() {
        let readers = Readers::start().unwrap();
        for _ in 0..2 * defaults::READERS {
            assert_eq!(
                readers.run(|| panic!("as it was told to")).await,
                None::<()>
            );
        }
        assert_eq!(readers.run(|| 7).await, Some(7));
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_frees_its_place() {
        let readers = Readers::start().unwrap();
        for _ in 0..2 * defaults::MAX_READS {
            let mut read = pin!(readers.run(|| 7));
            poll_fn(|cx| Poll::Ready(_ = read.as_mut().poll(cx))).await;
        }
        assert_eq!(readers.run(|| 8).await, Some(8));
    }
}
