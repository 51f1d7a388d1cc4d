//! A producer that was replaced cannot publish, and none can skip an event.

use proptest::prelude::*;
use tidings_protocol::{
    ErrorCode, FenceError, MAX_PRODUCERS, ProducerId, ProducerLedger, ProducerStamp,
};

fn stamp(id: u64, epoch: u64, seq: u64) -> ProducerStamp {
    ProducerStamp::new(ProducerId::new(format!("p{id}")).unwrap(), epoch, seq)
}

fn ledger(stamps: impl IntoIterator<Item = ProducerStamp>) -> ProducerLedger {
    let mut ledger = ProducerLedger::default();
    for stamp in stamps {
        ledger.check(&stamp).unwrap();
        ledger.record(&stamp);
    }
    ledger
}

#[test]
fn the_rules() {
    let ledger = ledger([stamp(1, 5, 10), stamp(1, 5, 11)]);
    let cases = [
        (
            stamp(2, 0, 99),
            Ok(()),
            "an unknown producer starts anywhere",
        ),
        (stamp(1, 5, 12), Ok(()), "the next one"),
        (stamp(1, 6, 0), Ok(()), "a newer run starts anywhere"),
        (
            stamp(1, 4, 12),
            Err(FenceError::Fenced { current: 5 }),
            "an older run",
        ),
        (
            stamp(1, 5, 11),
            Err(FenceError::SequenceGap { expected: 12 }),
            "a repeat",
        ),
        (
            stamp(1, 5, 13),
            Err(FenceError::SequenceGap { expected: 12 }),
            "a hole",
        ),
    ];
    for (stamp, expected, what) in cases {
        assert_eq!(ledger.check(&stamp), expected, "{what}");
    }
}

#[test]
fn errors_have_their_codes() {
    assert_eq!(FenceError::Fenced { current: 1 }.code(), ErrorCode::Fenced);
    assert_eq!(
        FenceError::SequenceGap { expected: 1 }.code(),
        ErrorCode::SequenceGap
    );
}

#[test]
fn the_least_recently_heard_is_forgotten() {
    let max = MAX_PRODUCERS as u64;
    let mut ledger = ledger((0..max).map(|id| stamp(id, 5, 1)));
    ledger.record(&stamp(0, 5, 2));
    ledger.record(&stamp(max, 5, 1));
    assert_eq!(ledger.len(), MAX_PRODUCERS);
    assert!(
        ledger.check(&stamp(0, 1, 1)).is_err(),
        "heard again meanwhile"
    );
    assert!(ledger.check(&stamp(1, 1, 1)).is_ok(), "forgotten");
    assert!(ledger.check(&stamp(2, 1, 1)).is_err(), "still known");
}

#[test]
fn the_largest_numbers_do_no_harm() {
    let ledger = ledger([stamp(1, u64::MAX, u64::MAX)]);
    assert!(ledger.check(&stamp(1, u64::MAX, 0)).is_err());
    assert!(ProducerLedger::default().is_empty());
}

proptest! {
    /// Of whatever is offered, what is taken never goes back and has no holes.
    #[test]
    fn what_is_taken_is_in_order(
        offers in proptest::collection::vec((0..3_u64, 0..4_u64, 0..4_u64), 0..200),
    ) {
        let mut ledger = ProducerLedger::default();
        let mut last = std::collections::HashMap::new();
        for (id, epoch, seq) in offers {
            let stamp = stamp(id, epoch, seq);
            let fits = match last.get(&id) {
                None => true,
                Some((known, _)) if epoch > *known => true,
                Some((known, before)) => epoch == *known && seq == before + 1,
            };
            prop_assert_eq!(ledger.check(&stamp).is_ok(), fits);
            if fits {
                ledger.record(&stamp);
                last.insert(id, (epoch, seq));
            }
        }
    }
}
