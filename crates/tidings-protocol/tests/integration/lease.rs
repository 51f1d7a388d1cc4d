//! Silence is reported once as a stall and once as a loss, never too early.

use std::time::Duration;

use proptest::prelude::*;
use tidings_protocol::{Lease, LeaseExpiry};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn silence_is_a_stall_and_then_a_loss() {
    let mut lease = Lease::new(s(10), s(100));
    assert_eq!((lease.deadline(), lease.poll(s(109))), (s(110), None));
    assert_eq!(lease.poll(s(110)), Some(LeaseExpiry::Stalled));
    assert_eq!((lease.deadline(), lease.poll(s(119))), (s(120), None));
    assert_eq!(lease.poll(s(120)), Some(LeaseExpiry::Lost));
    assert_eq!(
        (lease.deadline(), lease.poll(s(1_000))),
        (Duration::MAX, None)
    );
}

#[test]
fn an_event_starts_it_over() {
    let mut lease = Lease::new(s(10), s(0));
    lease.renew(s(9));
    assert_eq!(lease.poll(s(18)), None);
    assert_eq!(lease.poll(s(19)), Some(LeaseExpiry::Stalled));
    lease.renew(s(25));
    assert_eq!(lease.poll(s(34)), None);
    assert_eq!(
        lease.poll(s(35)),
        Some(LeaseExpiry::Stalled),
        "a second stall is told again"
    );
}

#[test]
fn whoever_polls_late_gives_notice_first() {
    let mut lease = Lease::new(s(10), s(0));
    assert_eq!(lease.poll(s(500)), Some(LeaseExpiry::Stalled));
    assert_eq!(lease.poll(s(500)), None);
    assert_eq!(lease.poll(s(510)), Some(LeaseExpiry::Lost));
}

#[test]
fn the_longest_times_do_no_harm() {
    let mut lease = Lease::new(Duration::MAX, Duration::MAX);
    lease.renew(Duration::MAX);
    assert_eq!(lease.deadline(), Duration::MAX);
}

proptest! {
    #[test]
    fn no_expiry_within_the_lease(steps in proptest::collection::vec((0..30_u64, any::<bool>()), 1..60)) {
        let mut lease = Lease::new(s(10), s(0));
        let (mut now, mut heard, mut stalled) = (0, 0, None);
        for (step, event) in steps {
            now += step;
            if event {
                lease.renew(s(now));
                (heard, stalled) = (now, None);
            }
            match lease.poll(s(now)) {
                None => {}
                Some(LeaseExpiry::Stalled) => {
                    prop_assert!(now - heard >= 10 && stalled.is_none());
                    stalled = Some(now);
                }
                Some(LeaseExpiry::Lost) => prop_assert!(stalled.is_some_and(|at| now - at >= 10)),
            }
        }
    }
}
