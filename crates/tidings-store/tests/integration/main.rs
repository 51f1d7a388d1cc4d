//! One program for all the tests of the public interface: each more would be one more link.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod backup;
mod conformance;
mod directory;
mod epochs;
mod full_disk;
mod retention;
mod rules;
mod support;
