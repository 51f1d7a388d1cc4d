//! Fencing: a producer that was replaced can no longer publish.

use serde::{Deserialize, Serialize};

use crate::{ErrorCode, ProducerId};

/// Producers remembered for each task. The least recently heard is forgotten
/// first; should it publish again, it starts anew, as an unknown one.
pub const MAX_PRODUCERS: usize = 64;

/// Which producer publishes, in which run of it, and the number of the event in that run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProducerStamp {
    /// The producer, the same after it was restarted.
    pub id: ProducerId,
    /// Its run: each restart takes a higher one.
    pub epoch: u64,
    /// Counts its events within the run, one by one, from wherever it likes.
    pub seq: u64,
}

impl ProducerStamp {
    /// The stamp of one event.
    pub const fn new(id: ProducerId, epoch: u64, seq: u64) -> Self {
        Self { id, epoch, seq }
    }
}

/// Why a producer's event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FenceError {
    /// A newer run has taken over: stop.
    #[error("a newer run of this producer has taken over, with epoch {current}")]
    Fenced {
        /// The newer run's epoch.
        current: u64,
    },
    /// Events in between are missing, or this one was already taken: go on from `expected`.
    #[error("the producer's next seq is {expected}")]
    SequenceGap {
        /// The only `seq` that is accepted next.
        expected: u64,
    },
}

impl FenceError {
    /// The protocol's code for this.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Fenced { .. } => ErrorCode::Fenced,
            Self::SequenceGap { .. } => ErrorCode::SequenceGap,
        }
    }
}

/// The last stamp of each of a task's producers.
///
/// Bounded by [`MAX_PRODUCERS`]; an empty one holds no memory.
///
/// ```
/// use tidings_protocol::{FenceError, ProducerId, ProducerLedger, ProducerStamp};
///
/// let id = ProducerId::new("worker")?;
/// let stamp = |epoch, seq| ProducerStamp::new(id.clone(), epoch, seq);
/// let mut ledger = ProducerLedger::default();
/// ledger.record(&stamp(2, 1));
/// assert_eq!(ledger.check(&stamp(2, 2)), Ok(()));
/// assert_eq!(ledger.check(&stamp(1, 9)), Err(FenceError::Fenced { current: 2 }));
/// assert_eq!(ledger.check(&stamp(2, 4)), Err(FenceError::SequenceGap { expected: 2 }));
/// # Ok::<(), tidings_protocol::IdError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerLedger {
    /// The most recently heard comes last: with few producers, every search is short.
    last: Vec<ProducerStamp>,
}

impl ProducerLedger {
    /// Whether an event with this stamp may be taken. Changes nothing.
    ///
    /// # Errors
    /// A newer run has taken over, or `seq` is not the next one.
    pub fn check(&self, stamp: &ProducerStamp) -> Result<(), FenceError> {
        let Some(last) = self.last.iter().rev().find(|last| last.id == stamp.id) else {
            return Ok(());
        };
        if stamp.epoch < last.epoch {
            return Err(FenceError::Fenced {
                current: last.epoch,
            });
        }
        let expected = last.seq.saturating_add(1);
        if stamp.epoch == last.epoch && stamp.seq != expected {
            return Err(FenceError::SequenceGap { expected });
        }
        Ok(())
    }

    /// Remembers the stamp of an event that was taken.
    pub fn record(&mut self, stamp: &ProducerStamp) {
        match self.last.iter().rposition(|last| last.id == stamp.id) {
            Some(at) => {
                self.last[at..].rotate_left(1);
                self.last.pop();
            }
            None if self.last.len() >= MAX_PRODUCERS => {
                self.last.remove(0);
            }
            None => {}
        }
        self.last.push(stamp.clone());
    }

    /// Producers remembered.
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}
