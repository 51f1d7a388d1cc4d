//! Gaps and resets: what a subscriber did not receive, and why.

use serde::{Deserialize, Serialize};

use crate::Offset;

/// Why offsets were not delivered.
///
/// The enum is eight bytes wide on purpose. An enum that contains a gap uses this field as its tag.
/// If the tag were one byte wide, the processor would stall when eight bytes are read right after
/// the one byte was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum GapReason {
    /// The events are no longer retained.
    Expired,
    /// The subscriber was slower than retention deletes events.
    Overrun,
    /// `log` events were left out because the subscriber lags.
    Conflated,
}

crate::text::named_enum!(GapReason, UnknownGapReason, "a reason for a gap", {
    Expired => "expired",
    Overrun => "overrun",
    Conflated => "conflated",
});

/// A range of offsets that a subscriber does not receive. Both ends are included, and the range is
/// never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gap {
    /// The first missing offset.
    pub from: Offset,
    /// The last missing offset.
    pub to: Offset,
    /// Why the offsets are missing.
    pub reason: GapReason,
}

impl Gap {
    /// Returns the number of missing offsets.
    pub const fn count(&self) -> u64 {
        (self.to.get() + 1).saturating_sub(self.from.get())
    }
}

/// Why a subscriber's position is not valid any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResetReason {
    /// The task's log started a new epoch.
    #[default]
    EpochChanged,
    /// The task was removed.
    Removed,
    /// The position was beyond the newest event.
    Ahead,
}

crate::text::named_enum!(ResetReason, UnknownResetReason, "a reason for a reset", {
    EpochChanged => "epoch_changed",
    Removed => "removed",
    Ahead => "ahead",
});

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnsubscribeReason {
    /// The client asked for it.
    Asked,
    /// The client's token no longer allows the subscription.
    Forbidden,
    /// The task was removed. A pattern that matched the task, and a tree that contained it, remain
    /// subscribed. If the target is a pattern or a tree, the server has removed the subscription
    /// itself, and an error before this message says why.
    Removed,
}

crate::text::named_enum!(UnsubscribeReason, UnknownUnsubscribeReason, "a reason for an unsubscription", {
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
