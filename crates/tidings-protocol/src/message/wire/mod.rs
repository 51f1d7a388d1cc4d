//! The JSON form of messages: plain structs, one for each shape.
//!
//! They are private, so that the public types can have the form that suits Rust. The JSON Schemas
//! are generated from these structs.

pub(crate) mod client;
pub(crate) mod control;
