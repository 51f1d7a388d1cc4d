//! A producer that was replaced cannot publish, and no producer can skip an event.

use proptest::prelude::*;
use tidings_protocol::{
    Admission, ErrorCode, FenceError, MAX_PRODUCERS, MAX_REPEATS, Offset, ProducerId,
    ProducerLedger, ProducerStamp,
};

fn at(offset: u64) -> Offset {
    Offset::new(offset).unwrap()
}

fn repeat(offset: Option<u64>) -> Result<Admission, FenceError> {
    let offset = offset.map(at);
    Ok(Admission::Repeat { offset })
}

fn stamp(id: u64, epoch: u64, seq: u64) -> ProducerStamp {
    ProducerStamp::new(ProducerId::new(format!("p{id}")).unwrap(), epoch, seq)
}

fn ledger(stamps: impl IntoIterator<Item = ProducerStamp>) -> ProducerLedger {
    let mut ledger = ProducerLedger::default();
    for (stamp, offset) in stamps.into_iter().zip(1..) {
        assert_eq!(ledger.check(&stamp), Ok(Admission::New));
        ledger.record(&stamp, at(offset));
    }
    ledger
}

#[test]
fn the_rules() {
    let ledger = ledger([stamp(1, 5, 10), stamp(1, 5, 11)]);
    let cases = [
        (
            stamp(2, 0, 99),
            Ok(Admission::New),
            "an unknown producer starts anywhere",
        ),
        (stamp(1, 5, 12), Ok(Admission::New), "the next one"),
        (
            stamp(1, 6, 0),
            Ok(Admission::New),
            "a newer run starts anywhere",
        ),
        (
            stamp(1, 4, 12),
            Err(FenceError::Fenced { current: 5 }),
            "an older run",
        ),
        (stamp(1, 5, 11), repeat(Some(2)), "a retry of the last one"),
        (
            stamp(1, 5, 10),
            repeat(Some(1)),
            "a retry of an earlier one",
        ),
        (
            stamp(1, 5, 9),
            Err(FenceError::SequenceGap { expected: 12 }),
            "one that was never accepted",
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
    ledger.record(&stamp(0, 5, 2), at(max + 1));
    ledger.record(&stamp(max, 5, 1), at(max + 2));
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
    assert_eq!(ledger.check(&stamp(1, u64::MAX, u64::MAX)), repeat(Some(1)));
    assert!(ProducerLedger::default().is_empty());
}

#[test]
fn a_retry_is_known_however_long_ago_and_its_offset_for_the_last_64() {
    let count = 3 * MAX_REPEATS as u64;
    let ledger = ledger((0..count).map(|n| stamp(1, 5, 100 + n)));
    for n in 0..count {
        let known = n + MAX_REPEATS as u64 >= count;
        let expected = repeat(known.then_some(n + 1));
        assert_eq!(ledger.check(&stamp(1, 5, 100 + n)), expected, "{n}");
    }
}

#[test]
fn a_new_epoch_forgets_the_offsets_of_the_old_one() {
    let mut ledger = ledger([stamp(1, 5, 10)]);
    ledger.record(&stamp(1, 6, 10), at(9));
    assert_eq!(ledger.check(&stamp(1, 6, 10)), repeat(Some(9)));
    assert_eq!(
        ledger.check(&stamp(1, 5, 10)),
        Err(FenceError::Fenced { current: 6 })
    );
}

#[test]
fn a_ledger_is_read_back_as_it_was() {
    let before = ledger((0..100).map(|n| stamp(n % 3, 5, n / 3)));
    let json = serde_json::to_string(&before).unwrap();
    let after: ProducerLedger = serde_json::from_str(&json).unwrap();
    assert_eq!(after, before);
}

proptest! {
    /// For any events, the accepted ones never go back and have no holes.
    #[test]
    fn what_is_taken_is_in_order(
        offers in proptest::collection::vec((0..3_u64, 0..4_u64, 0..4_u64), 0..200),
    ) {
        let mut ledger = ProducerLedger::default();
        let mut last = std::collections::HashMap::new();
        let mut taken: Vec<(ProducerStamp, Offset)> = Vec::new();
        for (id, epoch, seq) in offers {
            let stamp = stamp(id, epoch, seq);
            let fits = match last.get(&id) {
                None => true,
                Some((known, _)) if epoch > *known => true,
                Some((known, before)) => epoch == *known && seq == before + 1,
            };
            let again = taken.iter().find(|(before, _)| *before == stamp);
            let fenced = last.get(&id).is_some_and(|(known, _)| epoch < *known);
            match (ledger.check(&stamp), again) {
                (Ok(Admission::New), None) => prop_assert!(fits),
                (Ok(Admission::Repeat { offset }), Some((_, before))) => {
                    prop_assert_eq!(offset, Some(*before));
                }
                (Err(FenceError::Fenced { .. }), _) => prop_assert!(fenced),
                (Err(FenceError::SequenceGap { .. }), None) => prop_assert!(!fits),
                (answer, again) => prop_assert!(false, "{answer:?} to {stamp:?}, {again:?}"),
            }
            if fits {
                let offset = at(taken.len() as u64 + 1);
                ledger.record(&stamp, offset);
                taken.push((stamp, offset));
                last.insert(id, (epoch, seq));
            }
        }
    }
}
