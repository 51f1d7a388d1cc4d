//! Tasks that several nodes share.

pub(crate) mod broker;
pub mod broker_conformance;
pub(crate) mod catch_up;
pub(crate) mod fetch;
pub(crate) mod incoming;
pub(crate) mod mirror;
pub(crate) mod neighbours;
pub(crate) mod take_in;
pub(crate) mod tell;
