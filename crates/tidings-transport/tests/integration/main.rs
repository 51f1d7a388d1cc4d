//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod any_stream;
mod cloudevents;
mod extra_routes;
mod http_routes;
mod joining_and_coming_back;
mod limits_of_a_client;
mod malformed_input;
mod nothing_left_behind;
mod overload;
mod pages;
mod patterns_on_one_connection;
mod permissions_by_route;
mod python_connection_manager;
mod questions;
mod resume_tokens;
mod searched_history;
mod server_sent_events;
mod slow_clients;
mod stalled_readers;
mod streams_of_many_tasks;
mod tokens_over_time;
mod traces;
mod under_axum;
mod websocket_integration;
