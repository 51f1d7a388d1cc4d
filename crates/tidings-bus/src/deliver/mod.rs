//! The path of an event from its log to its watchers.

pub(crate) mod cold;
pub(crate) mod cursor;
pub(crate) mod delivery;
pub(crate) mod filter;
pub(crate) mod handler;
pub(crate) mod handlers;
pub(crate) mod history;
pub(crate) mod join;
pub(crate) mod output;
pub(crate) mod pass;
pub(crate) mod reader;
pub(crate) mod signal;
pub(crate) mod subscription;
pub(crate) mod topic;
pub(crate) mod walk;
