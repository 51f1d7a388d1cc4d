//! Fencing: a producer that was replaced can no longer publish.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{ErrorCode, Offset, ProducerId};

/// The number of producers that are remembered for each task. The ledger forgets the producer that
/// published least recently. If that producer publishes again, it counts as a new one.
pub const MAX_PRODUCERS: usize = 64;

/// The stamp of an event: its producer, the run of the producer, and the event's number in that
/// run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProducerStamp {
    /// The producer's id, which stays the same after a restart.
    pub id: ProducerId,
    /// The number of the producer's run. Each restart uses a higher one.
    pub epoch: u64,
    /// The number of the event in its run. The first may be any number, then each is one higher.
    pub seq: u64,
}

impl ProducerStamp {
    /// Creates the stamp of one event.
    pub const fn new(id: ProducerId, epoch: u64, seq: u64) -> Self {
        Self { id, epoch, seq }
    }
}

/// Why a producer's event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FenceError {
    /// A newer run of the producer has taken over. Stop publishing.
    #[error("a newer run of this producer has taken over, with epoch {current}: stop publishing")]
    Fenced {
        /// The epoch of the newer run.
        current: u64,
    },
    /// Events before this one are missing. Continue with `expected`.
    #[error("events of this producer are missing: continue with seq {expected}")]
    SequenceGap {
        /// The only `seq` that the server accepts next.
        expected: u64,
    },
}

impl FenceError {
    /// Returns the protocol's code for this error.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Fenced { .. } => ErrorCode::Fenced,
            Self::SequenceGap { .. } => ErrorCode::SequenceGap,
        }
    }
}

/// The number of offsets that are remembered for each producer. A retry of one of these events gets
/// its original answer.
pub const MAX_REPEATS: usize = 64;

/// The ledger's decision about an event that it does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The event is the producer's next one.
    New,
    /// The event was accepted before. The producer retries because the answer was lost.
    Repeat {
        /// The event's offset. `None` if the event is not among the producer's last [`MAX_REPEATS`]
        /// events.
        offset: Option<Offset>,
    },
}

/// The ledger's memory of one producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    id: ProducerId,
    epoch: u64,
    /// The first `seq` that was accepted in this epoch.
    first: u64,
    /// The last `seq` that was accepted in this epoch.
    seq: u64,
    /// The offsets of the newest events, in order.
    offsets: VecDeque<Offset>,
}

/// Remembers the newest events of each of a task's producers.
///
/// Its size is bounded by [`MAX_PRODUCERS`] and [`MAX_REPEATS`]. An empty ledger allocates no
/// memory.
///
/// ```
/// use tidings_protocol::{Admission, FenceError, Offset, ProducerId, ProducerLedger, ProducerStamp};
///
/// let id = ProducerId::new("worker")?;
/// let stamp = |epoch, seq| ProducerStamp::new(id.clone(), epoch, seq);
/// let mut ledger = ProducerLedger::default();
/// ledger.record(&stamp(2, 1), Offset::FIRST);
/// assert_eq!(ledger.check(&stamp(2, 2)), Ok(Admission::New));
/// let offset = Some(Offset::FIRST);
/// assert_eq!(ledger.check(&stamp(2, 1)), Ok(Admission::Repeat { offset }));
/// assert_eq!(ledger.check(&stamp(1, 9)), Err(FenceError::Fenced { current: 2 }));
/// assert_eq!(ledger.check(&stamp(2, 4)), Err(FenceError::SequenceGap { expected: 2 }));
/// # Ok::<(), tidings_protocol::IdError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProducerLedger {
    /// The producers, ordered by their last event, newest last. There are few, so a search is
    /// short.
    last: Vec<Known>,
}

impl ProducerLedger {
    /// Decides whether an event with this stamp is new or a retry. Does not change the ledger.
    ///
    /// # Errors
    /// Returns an error if a newer run has taken over, or if events before this one are missing.
    pub fn check(&self, stamp: &ProducerStamp) -> Result<Admission, FenceError> {
        let Some(known) = self.last.iter().rev().find(|known| known.id == stamp.id) else {
            return Ok(Admission::New);
        };
        if stamp.epoch < known.epoch {
            return Err(FenceError::Fenced {
                current: known.epoch,
            });
        }
        if stamp.epoch > known.epoch {
            return Ok(Admission::New);
        }
        if (known.first..=known.seq).contains(&stamp.seq) {
            let back = usize::try_from(known.seq - stamp.seq).unwrap_or(usize::MAX);
            let offset = known.offsets.iter().rev().nth(back).copied();
            return Ok(Admission::Repeat { offset });
        }
        match known.seq.checked_add(1) {
            Some(next) if next == stamp.seq => Ok(Admission::New),
            next => Err(FenceError::SequenceGap {
                expected: next.unwrap_or(u64::MAX),
            }),
        }
    }

    /// Records that an event with this stamp was accepted at `offset`.
    pub fn record(&mut self, stamp: &ProducerStamp, offset: Offset) {
        let known = self.last.iter().rposition(|known| known.id == stamp.id);
        let mut known = match known.map(|at| self.last.remove(at)) {
            Some(known) if known.epoch == stamp.epoch => known,
            same_id => {
                if same_id.is_none() && self.last.len() >= MAX_PRODUCERS {
                    self.last.remove(0);
                }
                Known {
                    id: stamp.id.clone(),
                    epoch: stamp.epoch,
                    first: stamp.seq,
                    seq: stamp.seq,
                    offsets: VecDeque::new(),
                }
            }
        };
        known.seq = stamp.seq;
        if known.offsets.len() >= MAX_REPEATS {
            known.offsets.pop_front();
        }
        known.offsets.push_back(offset);
        self.last.push(known);
    }

    /// Returns the number of remembered producers.
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Returns whether no producer is remembered.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}
