//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup;
mod cancel_safety;
mod conformance;
mod directory;
mod epochs;
mod full_disk;
mod retention;
mod rules;
mod support;
mod synced;
mod trees;
