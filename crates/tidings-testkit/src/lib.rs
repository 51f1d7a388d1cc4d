//! What Tidings' tests are made of.
//!
//! * [`Checker`] and [`WireChecker`]: the invariant, for one subscriber of one
//!   task and for everything that one connection receives.
//! * [`PipeSocket`] with [`LineWire`]: connections without a transport, as slow
//!   as a test wants them.
//! * [`TestServer`] and [`TestClient`]: the real thing over real sockets, on a
//!   free port; [`RawClient`] and [`http_exchange`] for clients that misbehave.
//! * [`FaultProxy`]: a network between them that breaks at seeded moments.
//! * [`simulate_seeds`]: simulations in paused time, replayable by their seed.
//! * [`RedisServer`]: a real Redis on a free port.
//!
//! Not published; a dev-dependency of the other crates.

#![allow(
    clippy::missing_panics_doc,
    reason = "a test kit panics; where, its docs say"
)]

mod checker;
mod client;
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
mod tokens;

pub use checker::{Checker, TaskChecker, Violation, WireChecker};
pub use client::TestClient;
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
pub use tokens::{Tokens, permissions};
