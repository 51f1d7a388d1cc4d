//! One program for all tests of the public interface. Each further program would need another
//! link step.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cancel_safety;
mod conflation;
mod conformance;
mod discovery;
mod far_behind;
mod fencing;
mod group_commit;
mod guards;
mod handlers;
mod idempotency;
mod interest;
mod joining;
mod lease;
mod leases_of_a_shared_store;
mod ledger;
mod lifecycle;
mod nodes;
mod outputs;
mod python_event_bus;
mod questions;
mod retention;
mod rules_after_a_reload;
mod rules_outlive_a_restart;
mod runs;
mod shelf;
mod slow_subscriber;
mod snapshot_is_the_reduction;
mod store;
mod store_timings;
mod subscriptions;
mod support;
mod trees;
mod wall_clock;
mod wide;
mod write_behind;
