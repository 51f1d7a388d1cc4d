//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod connection_life;
mod kept_clients;
mod many_tasks;
mod simulation;
mod tree_memberships;
mod trees;
mod unread_messages;
mod watched_trees;
