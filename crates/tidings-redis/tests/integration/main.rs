//! One program for all the tests of the public interface: each more would be one more link.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod faults;
mod support;
mod two_nodes;
