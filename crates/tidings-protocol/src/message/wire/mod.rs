//! How messages look as JSON: plain structs, one for each shape.
//!
//! Private, so that the public types can be what is convenient in Rust. The
//! schemas are generated from these.

pub(crate) mod client;
pub(crate) mod control;
