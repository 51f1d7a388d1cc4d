//! Attacks on a running server, over real sockets: what each gets, and what it
//! costs the server in memory. Run with `--no-capture` for the table.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod floods;
mod permissions;
mod shapes;
mod target;
mod tokens;

use std::io::Write as _;

use target::Target;

/// What the server may have grown by after an attack, in KiB: the allocator
/// keeps some of what was in use, and no attack may leave more than that.
const MAX_GROWTH_KIB: u64 = 24 * 1024;

/// One attack: what it is, and what is to come of it.
struct Attack {
    name: &'static str,
    /// What came of it, in words; it panics where that is not what should.
    run: fn(&Target) -> String,
}

#[test]
fn every_attack_gets_what_it_should_and_memory_holds() {
    let target = Target::start();
    let mut table = format!(
        "{:<44} {:<36} {:>9}\n",
        "attack", "what came of it", "KiB more"
    );
    let mut most = 0;
    let attacks = [
        tokens::ATTACKS,
        permissions::ATTACKS,
        shapes::ATTACKS,
        floods::ATTACKS,
    ];
    let attacks: Vec<_> = attacks.into_iter().flatten().collect();
    for attack in &attacks {
        let before = target.resident_kib();
        let outcome = (attack.run)(&target);
        let growth = target.resident_kib().saturating_sub(before);
        most = most.max(growth);
        table.push_str(&format!("{:<44} {outcome:<36} {growth:>9}\n", attack.name));
        assert!(
            growth <= MAX_GROWTH_KIB,
            "{}: {growth} KiB more",
            attack.name
        );
        assert!(target.lives(), "the server answers after {}", attack.name);
    }
    table.push_str(&format!(
        "{} attacks, all refused or bounded; at most {most} KiB more after one",
        attacks.len()
    ));
    // The table is what a reader of the log wants to see.
    let _ = writeln!(std::io::stdout(), "{table}");
}
