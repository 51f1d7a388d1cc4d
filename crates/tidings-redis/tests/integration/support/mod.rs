//! Shared code of the tests with a real Redis.

pub(crate) mod deployment;
pub(crate) mod record;
pub(crate) mod world;
