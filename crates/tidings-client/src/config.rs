//! What a client is made with.

use std::time::Duration;

use crate::defaults;

/// What happens to a publish for which there is no room: the server is away,
/// or slower than the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// It waits for room; what does not wait ([`Client::send`](crate::Client::send))
    /// is refused.
    #[default]
    Wait,
    /// It is refused with [`ReceiptError::BufferFull`](crate::ReceiptError::BufferFull).
    Refuse,
    /// The oldest `progress_update`, `log` or `output_delta` that was not sent yet
    /// gives way; its answer is [`ReceiptError::Dropped`](crate::ReceiptError::Dropped).
    /// If all that waits is more important than that, a new one of these kinds is
    /// dropped itself, any other refused.
    DropOldest,
}

/// How a client behaves. Times are bounded below by a millisecond, counts by 1.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The pause before the first reconnect, at most; it doubles with every failure
    /// and is drawn between nothing and that ("full jitter").
    pub backoff_base: Duration,
    /// The longest pause between two attempts.
    pub backoff_cap: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the token source may take to answer; then it is asked again.
    pub token_timeout: Duration,
    /// Without any answer for this long a connection is given up.
    pub silence_timeout: Duration,
    /// Publishes that may wait for their answer; as many reports of tasks may wait
    /// beside them.
    pub max_pending: usize,
    /// Bytes of publishes that may wait for their answer, and of reports.
    pub max_pending_bytes: usize,
    /// What happens to a publish beyond that. Reports of tasks always make room: the
    /// oldest progress, log line or output that was not sent yet gives way, and is
    /// counted.
    pub when_full: WhenFull,
    /// Updates that may wait in one watch.
    pub watch_updates: usize,
    /// Where randomness starts; none: anew each time. For tests.
    pub seed: Option<u64>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            backoff_base: defaults::BACKOFF_BASE,
            backoff_cap: defaults::BACKOFF_CAP,
            connect_timeout: defaults::CONNECT_TIMEOUT,
            token_timeout: defaults::TOKEN_TIMEOUT,
            silence_timeout: defaults::SILENCE_TIMEOUT,
            max_pending: defaults::MAX_PENDING,
            max_pending_bytes: defaults::MAX_PENDING_BYTES,
            when_full: WhenFull::default(),
            watch_updates: defaults::WATCH_UPDATES,
            seed: None,
        }
    }
}

const SHORTEST: Duration = Duration::from_millis(1);

impl ClientConfig {
    /// The first pause before a reconnect, at most, and the longest of all.
    #[must_use]
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff_base = base.max(SHORTEST);
        self.backoff_cap = cap.max(self.backoff_base);
        self
    }

    /// How long connecting may take.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.max(SHORTEST);
        self
    }

    /// How long the token source may take to answer.
    #[must_use]
    pub fn token_timeout(mut self, timeout: Duration) -> Self {
        self.token_timeout = timeout.max(SHORTEST);
        self
    }

    /// Without any answer for how long a connection is given up.
    #[must_use]
    pub fn silence_timeout(mut self, timeout: Duration) -> Self {
        self.silence_timeout = timeout.max(SHORTEST);
        self
    }

    /// How many publishes, and bytes of them, may wait for their answer.
    #[must_use]
    pub fn pending(mut self, publishes: usize, bytes: usize) -> Self {
        self.max_pending = publishes.max(1);
        self.max_pending_bytes = bytes.max(1);
        self
    }

    /// What happens to a publish for which there is no room.
    #[must_use]
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// How many updates may wait in one watch.
    #[must_use]
    pub fn watch_updates(mut self, updates: usize) -> Self {
        self.watch_updates = updates.max(1);
        self
    }

    /// Where randomness starts.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}
