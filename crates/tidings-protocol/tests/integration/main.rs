//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod conformance_scripts;
mod control_messages;
mod fencing;
mod invalid_events;
mod lease;
mod lifecycle;
mod malformed_client_messages;
mod merging;
mod perturbed_bytes;
mod round_trips;
mod schema_describes_messages;
mod schema_is_fresh;
mod snapshot_reduction;
mod strategies;
mod unknown_survives;
