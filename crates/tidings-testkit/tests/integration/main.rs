//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bus_files;
mod cancel_safety;
mod crate_directions;
mod crate_weights;
mod echo;
mod fuzz;
mod licences;
