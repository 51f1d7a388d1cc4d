//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attacks;
mod backup;
mod bench;
mod check_config;
mod client_commands;
mod client_reading;
mod client_trees;
mod clients_come_back;
mod cluster;
mod crash;
mod dashboard;
mod demo;
mod deploy_example;
mod killed_under_a_task;
mod log_lines;
mod otlp;
mod output_errors;
mod redis_secured;
mod reload;
mod run_command;
mod run_faults;
mod run_recordings;
mod run_slow_server;
mod run_terminal;
mod start;
mod stop;
mod storage;
mod support;
mod tls;
mod tokens;
mod two_servers;
mod usage;
