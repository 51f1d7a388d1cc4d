//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kept_clients;
mod many_tasks;
mod simulation;
mod unread_messages;
