//! One program for all tests of the public interface. Each further program would need another
//! link step.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod faults;
mod rules;
mod support;
mod trees;
mod two_nodes;
