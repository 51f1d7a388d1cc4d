//! What a subscriber did not get, and why.

use serde::{Deserialize, Serialize};

use crate::Offset;

/// Why offsets were not delivered.
///
/// As wide as what lies beside it: what holds a gap or something else is told
/// apart by this field, and a processor waits when it reads eight bytes of which
/// one was just written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum GapReason {
    /// They are no longer retained.
    Expired,
    /// The subscriber was slower than retention.
    Overrun,
    /// Superseded or droppable events were skipped for a subscriber that lags.
    Conflated,
    /// The numbering has started over.
    EpochChanged,
    /// The position was ahead of the log: nothing is missing, but the claim was wrong.
    Ahead,
}

crate::text::named_enum!(GapReason, UnknownGapReason, "the reason of a gap", {
    Expired => "expired",
    Overrun => "overrun",
    Conflated => "conflated",
    EpochChanged => "epoch_changed",
    Ahead => "ahead",
});

/// A range of offsets that a subscriber does not get, both ends included.
///
/// Empty (`to` one less than `from`) when nothing is missing but the subscriber
/// must still look up: after [`Ahead`](GapReason::Ahead) it is head + 1 to head,
/// after [`EpochChanged`](GapReason::EpochChanged) 1 to 0 if all of the new
/// numbering follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gap {
    /// The first offset missing.
    pub from: Offset,
    /// The last offset missing.
    pub to: Offset,
    /// Why.
    pub reason: GapReason,
}

impl Gap {
    /// Offsets missing.
    pub const fn count(&self) -> u64 {
        (self.to.get() + 1).saturating_sub(self.from.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_count() {
        let gap = |from, to| Gap {
            from: Offset::new(from).unwrap(),
            to: Offset::new(to).unwrap(),
            reason: GapReason::Overrun,
        };
        assert_eq!(gap(3, 5).count(), 3);
        assert_eq!(gap(4, 4).count(), 1);
        assert_eq!(gap(1, 0).count(), 0);
    }
}
