//! Messages between client and server.

mod client;
mod commanded;
mod control;
mod decode;
mod joined;
mod reference;
mod server;
pub(crate) mod wire;

pub use client::{ClientMessage, ClientRequest, Target};
pub use commanded::TaskCommanded;
pub use control::ControlMessage;
pub use decode::DecodeError;
pub use joined::Joined;
pub use reference::{MAX_REFERENCE_BYTES, Reference, ReferenceError};
pub use server::{InvalidServerMessage, ServerMessage};
