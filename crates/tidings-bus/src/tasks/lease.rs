//! The decision about one lease: the time at which the bus notices a silent task. Pure.
//!
//! `leases.rs` orders the deadlines of all tasks, and `expire.rs` acts on them.

use std::time::Duration;

use tidings_protocol::{Lease, LeaseExpiry};

/// The action that a lease needs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do before the deadline.
    Wait,
    /// The bus could not hear the producer. This lease replaces the old one.
    Extend(Lease),
    /// Publish the expiry. If that succeeds, this lease replaces the old one.
    Expired(LeaseExpiry, Lease),
}

/// Decides about a lease at `now`. `refused` is the last time at which the bus refused an event
/// because its store was unavailable. The refusal may be the only reason for the silence. The
/// producer therefore gets the full time again from then on.
pub(crate) fn judge(lease: Lease, now: Duration, refused: Option<Duration>) -> Verdict {
    let mut next = lease;
    let Some(expiry) = next.poll(now) else {
        return Verdict::Wait;
    };
    let began = lease.deadline().saturating_sub(lease.duration());
    match refused {
        Some(refused) if refused >= began => {
            let mut extended = lease;
            extended.extend(refused);
            if now < extended.deadline() {
                return Verdict::Extend(extended);
            }
        }
        _ => {}
    }
    Verdict::Expired(expiry, next)
}

/// The lease that an event of the bus ends, and the lease after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) lease: Lease,
    pub(crate) next: Lease,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_stalls_and_then_is_lost() {
        let lease = Lease::new(10 * SECOND, SECOND);
        assert_eq!(judge(lease, 10 * SECOND, None), Verdict::Wait);
        let Verdict::Expired(LeaseExpiry::Stalled, next) = judge(lease, 11 * SECOND, None) else {
            panic!("it has run out");
        };
        assert_eq!(judge(next, 20 * SECOND, None), Verdict::Wait);
        let lost = judge(next, 21 * SECOND, None);
        assert!(matches!(lost, Verdict::Expired(LeaseExpiry::Lost, _)));
    }

    #[test]
    fn a_producer_that_was_refused_gets_all_of_its_time_once_more() {
        let lease = Lease::new(10 * SECOND, SECOND);
        let Verdict::Extend(extended) = judge(lease, 11 * SECOND, Some(5 * SECOND)) else {
            panic!("the bus refused events meanwhile");
        };
        assert_eq!(extended.deadline(), 15 * SECOND);
        // A refusal before the producer's last event does not count.
        let before = judge(lease, 11 * SECOND, Some(SECOND / 2));
        assert!(matches!(before, Verdict::Expired(LeaseExpiry::Stalled, _)));
        // A reported stall stays reported.
        let Verdict::Expired(_, stalled) = judge(lease, 11 * SECOND, None) else {
            panic!("it has run out");
        };
        let Verdict::Extend(extended) = judge(stalled, 21 * SECOND, Some(20 * SECOND)) else {
            panic!("the bus refused events meanwhile");
        };
        let next = judge(extended, 30 * SECOND, Some(20 * SECOND));
        assert!(matches!(next, Verdict::Expired(LeaseExpiry::Lost, _)));
    }
}
