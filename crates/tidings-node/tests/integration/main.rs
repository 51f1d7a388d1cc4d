//! One test program for the whole public interface, because each program must be linked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod behind_a_proxy;
mod client_certificates;
mod configuration_page;
mod draining;
mod listener;
mod mounted_routes;
mod places;
mod reload;
mod secure_connections;
mod storage;
