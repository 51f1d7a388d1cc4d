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
    /// `log` events were left out for a subscriber that lags.
    Conflated,
}

crate::text::named_enum!(GapReason, UnknownGapReason, "the reason of a gap", {
    Expired => "expired",
    Overrun => "overrun",
    Conflated => "conflated",
});

/// A range of offsets that a subscriber does not get, both ends included; never empty.
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

/// Why a subscriber's position is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResetReason {
    /// The numbering has started over.
    #[default]
    EpochChanged,
    /// The task was removed.
    Removed,
    /// The position was after the newest event.
    Ahead,
}

crate::text::named_enum!(ResetReason, UnknownResetReason, "the reason of a reset", {
    EpochChanged => "epoch_changed",
    Removed => "removed",
    Ahead => "ahead",
});

/// Why a subscription is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnsubscribeReason {
    /// The client asked for it.
    Asked,
    /// The client's token does not allow it any more.
    Forbidden,
    /// The task is gone. A pattern that matched it goes on.
    Removed,
}

crate::text::named_enum!(UnsubscribeReason, UnknownUnsubscribeReason, "the reason of an unsubscription", {
    Asked => "asked",
    Forbidden => "forbidden",
    Removed => "removed",
});

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
    }
}
