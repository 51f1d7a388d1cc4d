//! Attacks on a running server over real sockets, each with its outcome and its cost in memory. Run
//! with `--no-capture` to see the table.
//!
//! A calm client publishes and watches beside all of them. It must lose no event and no task. How
//! long its events take depends on the machine: `cargo bench --bench hostile` measures that.

mod calm;
mod floods;
mod permissions;
mod shapes;
mod target;
mod tokens;

use std::io::Write as _;
use std::time::{Duration, Instant};

use calm::Calm;
use target::Target;

use crate::support::DEADLINE;

/// The most memory in KiB that an attack may add at its peak, and the most that may remain after
/// it. Some memory remains because the allocator keeps freed pages.
const MAX_PEAK_KIB: u64 = 24 * 1024;
const MAX_GROWTH_KIB: u64 = 16 * 1024;

/// An attack and its expected outcome.
struct Attack {
    name: &'static str,
    /// Runs the attack and returns its outcome in words. Panics if the outcome is wrong.
    run: fn(&Target) -> String,
}

/// Returns the memory that remains after an attack. The server needs a moment to notice that the
/// attacker has hung up.
fn growth_after(target: &Target, before: u64) -> u64 {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let growth = target.resident_kib().saturating_sub(before);
        if growth <= MAX_GROWTH_KIB || Instant::now() > deadline {
            return growth;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn every_attack_gets_what_it_should_and_memory_holds() {
    let target = Target::start();
    let calm = Calm::start(&target);
    let mut table = format!(
        "{:<46} {:<40} {:>8} {:>8}\n",
        "attack", "what answered it", "peak KiB", "left KiB"
    );
    let (mut highest, mut most) = (0, 0);
    let attacks = [
        tokens::ATTACKS,
        permissions::ATTACKS,
        shapes::ATTACKS,
        floods::ATTACKS,
    ];
    let attacks: Vec<_> = attacks.into_iter().flatten().collect();
    for attack in &attacks {
        let before = target.resident_kib();
        target.forget_peak();
        // Use a new subject, so that limits that one attack has used up do not affect the next.
        target::next_attacker();
        let outcome = (attack.run)(&target);
        let peak = target.peak_kib().saturating_sub(before);
        let growth = growth_after(&target, before);
        (highest, most) = (highest.max(peak), most.max(growth));
        let name = attack.name;
        table.push_str(&format!("{name:<46} {outcome:<40} {peak:>8} {growth:>8}\n"));
        assert!(peak <= MAX_PEAK_KIB, "{name}: {peak} KiB at its peak");
        assert!(growth <= MAX_GROWTH_KIB, "{name}: {growth} KiB more");
        assert!(target.lives(), "the server answers after {}", attack.name);
    }
    let seen = calm.finish();
    assert_eq!(seen.lost, 0, "tasks of the calm client are gone");
    table.push_str(&format!(
        "a calm client beside them: {} events accepted, {} delivered to its watchers in order, no \
         task lost\n",
        seen.published, seen.delivered
    ));
    table.push_str(&format!(
        "{} attacks, all refused or bounded. Memory beyond that before the attack: at most \
         {highest} KiB during one (bound {MAX_PEAK_KIB}), {most} KiB after one (bound \
         {MAX_GROWTH_KIB})",
        attacks.len()
    ));
    // The table is meant for a reader of the log.
    let _ = writeln!(std::io::stdout(), "{table}");
}
