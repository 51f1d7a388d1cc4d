//! Tools for the tests of Tidings.
//!
//! * [`Checker`] and [`WireChecker`] check the invariant, for one subscriber of one task and for
//!   all messages of one connection.
//! * [`PipeSocket`] with [`LineWire`] makes connections without a transport, as slow as a test
//!   needs.
//! * [`TestServer`] and [`TestClient`] use real sockets on a free port. [`RawClient`] and
//!   [`http_exchange`] are clients that misbehave.
//! * [`FaultProxy`] is a network between them that fails at seeded moments.
//! * [`ThrottledProxy`] is a network that is slow, stalls or refuses.
//! * [`simulate_seeds`] runs simulations in paused time, which can be repeated by their seed.
//! * [`drop_at_each_await`] drops a future at each of its awaits.
//! * [`RedisServer`] is a real Redis on a free port.
//!
//! This crate is not published. It is a dev-dependency of the other crates.

#![allow(
    clippy::missing_panics_doc,
    reason = "a test kit panics; where, its docs say"
)]

mod cancel;
mod checker;
mod client;
mod connect;
mod event_stream;
mod http;
mod lines;
mod pipe;
mod proxy;
mod raw;
mod redis;
mod seeds;
mod server;
mod state;
mod throttle;
mod tokens;

pub use cancel::{drop_after, drop_at_each_await};
pub use checker::{Checker, TaskChecker, Violation, WireChecker};
pub use client::TestClient;
pub use connect::connect;
pub use event_stream::{EventStream, SseEvent};
pub use http::{HttpResponse, http_exchange};
pub use lines::{LINES, LineReader, LineWire};
pub use pipe::PipeSocket;
pub use proxy::FaultProxy;
pub use raw::{RawClient, RawFrame, frame, handshake, masked_frame};
pub use redis::RedisServer;
pub use seeds::simulate_seeds;
pub use server::{DEADLINE, TestConfig, TestServer, eventually};
pub use state::{StateChecker, StateViolation};
pub use throttle::{Throttle, ThrottledProxy};
pub use tokens::{Tokens, permissions};
