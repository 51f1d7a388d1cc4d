//! One program for all the tests of the public interface: each more would be one more link.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crate_directions;
mod crate_weights;
mod echo;
mod fuzz;
mod licences;
