//! Tasks: the registry, the rules of each task, and how long a task is kept.

pub(crate) mod deadlines;
pub(crate) mod evict;
pub(crate) mod eviction;
pub(crate) mod expire;
pub(crate) mod idempotency;
pub(crate) mod lease;
pub(crate) mod leases;
pub(crate) mod leave;
pub(crate) mod life;
pub(crate) mod listed;
pub(crate) mod listing;
pub(crate) mod questions;
pub(crate) mod registry;
pub(crate) mod retention;
pub(crate) mod room;
pub(crate) mod schema;
pub(crate) mod shelf;
pub(crate) mod starts;
pub(crate) mod task;
pub(crate) mod trees;
