//! One program for all the tests of the public interface: each more would be one more link.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_keys;
mod keys_that_rotate;
mod support;
mod tokens_that_are_refused;
