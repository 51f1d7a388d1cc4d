//! Fencing: a producer that was replaced can no longer publish.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::{ErrorCode, Offset, ProducerId};

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
    /// Events before this one are missing: go on from `expected`.
    #[error("events of this producer are missing: its next seq is {expected}")]
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

/// Offsets remembered for each producer, so that a retry gets its original answer.
pub const MAX_REPEATS: usize = 64;

/// What the ledger says to an event that it does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The event is the producer's next one.
    New,
    /// The event was accepted before: this is a retry after a lost answer.
    Repeat {
        /// The offset that the event got; none if it is not among the producer's
        /// last [`MAX_REPEATS`].
        offset: Option<Offset>,
    },
}

/// One producer, as the ledger remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    id: ProducerId,
    epoch: u64,
    /// The first `seq` that was accepted in this epoch.
    first: u64,
    /// The last one.
    seq: u64,
    /// The offsets of the newest events, the last one's at the end.
    offsets: VecDeque<Offset>,
}

/// The newest events of each of a task's producers.
///
/// Bounded by [`MAX_PRODUCERS`] and [`MAX_REPEATS`]; an empty one holds no memory.
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
    /// The most recently heard comes last: with few producers, every search is short.
    last: Vec<Known>,
}

impl ProducerLedger {
    /// Decides whether an event with this stamp is new or a retry. Changes nothing.
    ///
    /// # Errors
    /// A newer run has taken over, or events before this one are missing.
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

    /// Remembers the stamp of an event that was accepted at `offset`.
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

    /// Producers remembered.
    pub fn len(&self) -> usize {
        self.last.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }
}
