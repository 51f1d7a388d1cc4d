//! The settings of a client.

use std::time::Duration;

use crate::defaults;

/// Decides about a publish when the buffer is full. The buffer fills while the server
/// is away or slower than the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// The call waits for room. A call that never waits, such as
    /// [`Client::send`](crate::Client::send), refuses the publish.
    #[default]
    Wait,
    /// The publish is refused with
    /// [`ReceiptError::BufferFull`](crate::ReceiptError::BufferFull).
    Refuse,
    /// The oldest unsent `progress_update`, `log` or `output_delta` is dropped to make
    /// room. Its receipt yields
    /// [`ReceiptError::Dropped`](crate::ReceiptError::Dropped). If every waiting event
    /// is of another type, a new event of these three types is dropped, and any other
    /// new event is refused.
    DropOldest,
}

/// Settings of a client. Every time is at least one millisecond, and every count is at
/// least 1.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The upper bound of the pause before the first reconnect. The bound doubles with
    /// every failure. The pause is random between zero and the bound ("full jitter").
    pub backoff_base: Duration,
    /// The longest pause between two attempts.
    pub backoff_cap: Duration,
    /// The time limit for connecting.
    pub connect_timeout: Duration,
    /// The time limit for the token source. After it, the client asks the source again.
    pub token_timeout: Duration,
    /// The time limit for any answer of the server. After it, the client closes the
    /// connection.
    pub silence_timeout: Duration,
    /// The number of publishes that may wait for their answer. The same number of task
    /// reports may wait in addition.
    pub max_pending: usize,
    /// The bytes of publishes that may wait for their answer. Task reports may use the
    /// same number of bytes in addition.
    pub max_pending_bytes: usize,
    /// The policy for a publish beyond these limits. Task reports do not follow it. For
    /// a report, the oldest unsent progress, log line or output is dropped and counted.
    pub when_full: WhenFull,
    /// The number of updates that may wait in one watch.
    pub watch_updates: usize,
    /// The seed of all randomness, for tests. Without a seed, each client starts with a
    /// random one.
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
    /// Sets the bound of the first pause before a reconnect, and the longest pause of
    /// all.
    #[must_use]
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.backoff_base = base.max(SHORTEST);
        self.backoff_cap = cap.max(self.backoff_base);
        self
    }

    /// Sets the time limit for connecting.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.max(SHORTEST);
        self
    }

    /// Sets the time limit for the token source.
    #[must_use]
    pub fn token_timeout(mut self, timeout: Duration) -> Self {
        self.token_timeout = timeout.max(SHORTEST);
        self
    }

    /// Sets the time without any answer after which the client closes a connection.
    #[must_use]
    pub fn silence_timeout(mut self, timeout: Duration) -> Self {
        self.silence_timeout = timeout.max(SHORTEST);
        self
    }

    /// Sets the number and the bytes of publishes that may wait for their answer.
    #[must_use]
    pub fn pending(mut self, publishes: usize, bytes: usize) -> Self {
        self.max_pending = publishes.max(1);
        self.max_pending_bytes = bytes.max(1);
        self
    }

    /// Sets the policy for a publish when the buffer is full.
    #[must_use]
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// Sets the number of updates that may wait in one watch.
    #[must_use]
    pub fn watch_updates(mut self, updates: usize) -> Self {
        self.watch_updates = updates.max(1);
        self
    }

    /// Sets the seed of all randomness.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}
