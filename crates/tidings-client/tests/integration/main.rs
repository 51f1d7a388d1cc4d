//! One program for all tests of the public interface, because each further program costs one more
//! link.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "list")]
mod cancel_safety;
mod progress_bars;
mod publish_and_watch;
mod scopes;
mod tasks;
mod through_faults;
mod tokens;
