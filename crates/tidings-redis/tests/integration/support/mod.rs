//! What the tests over a real Redis share.

pub(crate) mod deployment;
pub(crate) mod record;
pub(crate) mod world;
