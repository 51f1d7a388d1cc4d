//! What the tests over a real Redis share.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod deployment;
pub(crate) mod record;
pub(crate) mod world;
