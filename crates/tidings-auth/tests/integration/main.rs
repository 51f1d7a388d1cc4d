//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_keys;
mod keys_that_rotate;
mod support;
mod tokens_that_are_refused;
