use std::sync::Barrier;
use std::thread;

use super::*;

fn ledger() -> Ledger {
    Ledger::new(LedgerLimits {
        tasks: 10_000,
        clients: 1_000,
        account: 300,
    })
}

fn subject(ledger: &Ledger, name: &str) -> Account {
    ledger.account(&AccountId::subject(name))
}

#[test]
fn a_charge_is_held_until_it_is_dropped() {
    let ledger = ledger();
    let account = subject(&ledger, "a");
    let charge = account.charge(Kind::Cursor, 200).unwrap();
    assert_eq!(account.held(Kind::Cursor), 200);
    assert_eq!(ledger.held(Group::Clients), 200);
    assert_eq!(ledger.held(Group::Tasks), 0);
    drop(charge);
    assert_eq!(account.held(Kind::Cursor), 0);
    assert_eq!(ledger.held(Group::Clients), 0);
}

#[test]
fn the_limit_of_an_account_covers_all_its_kinds_and_no_other_account() {
    let ledger = ledger();
    let account = subject(&ledger, "a");
    let _cursor = account.charge(Kind::Cursor, 200).unwrap();
    let refused = account.charge(Kind::Undeclared, 101).unwrap_err();
    assert!(matches!(refused, OverLimit::Account { limit: 300, .. }));
    assert_eq!(refused.kind(), Kind::Undeclared);
    assert_eq!(
        ledger.held(Group::Clients),
        200,
        "a refusal charges nothing"
    );
    let _exact = account.charge(Kind::Undeclared, 100).unwrap();
    let _other = subject(&ledger, "b").charge(Kind::Undeclared, 300).unwrap();
}

#[test]
fn the_total_has_a_limit_too() {
    let ledger = ledger();
    let _charges: Vec<_> = (0..3)
        .map(|n| subject(&ledger, &n.to_string()).charge(Kind::Inbox, 300))
        .collect::<Result<_, _>>()
        .unwrap();
    let refused = subject(&ledger, "late")
        .charge(Kind::Inbox, 101)
        .unwrap_err();
    assert!(matches!(refused, OverLimit::Total { limit: 1_000, .. }));
}

#[test]
fn the_own_account_has_the_limit_of_the_total_only() {
    let ledger = ledger();
    let _all = ledger.own().charge(Kind::Cursor, 1_000).unwrap();
    assert!(ledger.own().charge(Kind::Cursor, 1).is_err());
    let _forced = ledger.own().take(Kind::Cursor, 1);
    assert!(ledger.is_over(Group::Clients));
}

#[test]
fn a_refused_resize_changes_nothing_and_shrinking_is_never_refused() {
    let ledger = ledger();
    let account = subject(&ledger, "a");
    let mut charge = account.charge(Kind::Answer, 300).unwrap();
    charge.try_resize(301).unwrap_err();
    assert_eq!((charge.bytes(), account.held(Kind::Answer)), (300, 300));
    let _forced = account.take(Kind::Cursor, 500);
    charge.try_resize(10).unwrap();
    assert_eq!(account.held(Kind::Answer), 10);
}

#[test]
fn an_account_is_one_and_the_same_until_nobody_has_it() {
    let ledger = ledger();
    let first = subject(&ledger, "a");
    assert_eq!(first, subject(&ledger, "a"));
    let charge = first.take(Kind::Cursor, 7);
    drop(first);
    assert_eq!(subject(&ledger, "a").held(Kind::Cursor), 7);
    assert_eq!(ledger.accounts(), 2, "this one and the bus's own");
    drop(charge);
    assert_eq!(ledger.accounts(), 1);
}

#[test]
fn a_tally_moves_to_another_account_whole_and_releases_itself() {
    let ledger = ledger();
    let (a, b) = (subject(&ledger, "a"), subject(&ledger, "b"));
    let mut tally = a.tally();
    tally.set(Kind::Events, 100);
    tally.set(Kind::Snapshot, 40);
    tally.set(Kind::Events, 60);
    assert_eq!(a.held_in(Group::Tasks), 100);
    tally.move_to(&b);
    assert_eq!((a.held_in(Group::Tasks), b.held_in(Group::Tasks)), (0, 100));
    assert_eq!(tally.account(), &b);
    drop(tally);
    assert_eq!(b.held_in(Group::Tasks), 0);
    assert_eq!(ledger.held(Group::Tasks), 0);
}

#[test]
fn those_who_hold_more_than_an_equal_share_are_named_most_first() {
    let ledger = ledger();
    let held = [("a", 2_000), ("b", 6_000), ("c", 4_000), ("idle", 0)];
    let _held: Vec<_> = held
        .iter()
        .map(|(name, bytes)| subject(&ledger, name).take(Kind::Events, *bytes))
        .collect();
    let over = ledger.over_share(Group::Tasks);
    let over: Vec<_> = over
        .iter()
        .map(|holding| (holding.account.as_str(), holding.bytes))
        .collect();
    assert_eq!(over, [("subject:b", 6_000), ("subject:c", 4_000)]);
}

#[test]
fn an_ipv6_network_is_one_account() {
    let id = |text: &str| AccountId::address(text.parse().unwrap());
    assert_eq!(id("2001:db8:1:2::1"), id("2001:db8:1:2:ffff::9"));
    assert_ne!(id("2001:db8:1:2::1"), id("2001:db8:1:3::1"));
    assert_eq!(id("::ffff:192.0.2.7"), id("192.0.2.7"));
}

#[test]
fn many_at_once_never_hold_more_than_the_limit_and_leave_nothing() {
    const THREADS: usize = 4;
    let ledger = ledger();
    let account = subject(&ledger, "a");
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..2_000 {
                    let charges: Vec<_> = (0..4)
                        .filter_map(|_| account.charge(Kind::Cursor, 100).ok())
                        .collect();
                    let held: u64 = charges.iter().map(Charge::bytes).sum();
                    assert!(held <= 300, "one thread alone got {held}");
                }
            });
        }
    });
    assert_eq!(account.held(Kind::Cursor), 0);
    assert_eq!(ledger.held(Group::Clients), 0);
}

#[test]
fn refusals_are_counted_by_their_limit_and_taking_can_exceed_it() {
    let ledger = ledger();
    let (a, b) = (subject(&ledger, "a"), subject(&ledger, "b"));
    let limits = *ledger.limits();
    let taken = a.take(Kind::Answer, limits.account + 1);
    assert!(a.is_over(Group::Clients));
    assert!(!b.is_over(Group::Clients), "each for itself");
    assert!(a.charge(Kind::Cursor, 1).is_err());
    let all = b.take(Kind::Answer, limits.clients);
    assert!(subject(&ledger, "c").is_over(Group::Clients));
    assert!(subject(&ledger, "c").charge(Kind::Cursor, 1).is_err());
    assert_eq!(ledger.refused(), (1, 1));
    drop((taken, all));
    assert!(!a.is_over(Group::Clients));
}

#[test]
fn the_budgets_of_a_bus_add_up_to_its_total() {
    let config = crate::BusConfig::default().total_bytes(1_600_000);
    let limits = config.ledger_limits();
    assert_eq!(
        (limits.tasks, limits.clients, limits.account),
        (1_200_000, 400_000, 100_000)
    );
    let limits = config
        .clients_bytes(Some(100))
        .account_bytes(Some(7))
        .ledger_limits();
    assert_eq!(
        (limits.tasks, limits.clients, limits.account),
        (1_599_900, 100, 7)
    );
}
