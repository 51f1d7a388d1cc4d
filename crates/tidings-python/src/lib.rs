//! The native half of the Python package `tidings`: handles to `tidings-client`.
//!
//! What Python programs see is in the folder `python`, written in Python over the
//! classes here. Three rules hold in this crate:
//!
//! - **Values cross as JSON text**, so that there is one parser on each side.
//! - **Nothing here waits while it holds the interpreter.** A wait is an
//!   [`Operation`](operation::Operation) or a stream with a
//!   [`Bell`](bell::Bell).
//! - **Everything belongs to a process.** In a forked child nothing of the parent is
//!   touched, not even to free it: see [`Owned`](owned::Owned). Whatever needs
//!   randomness runs on the client's own thread, for a forked child inherits the
//!   state of its thread's generators.
//!
//! Its neighbour is `tidings-client`, which decides everything.

mod bell;
mod client;
mod commands;
mod failure;
mod fold;
mod operation;
mod owned;
mod runtime;
mod task;
mod watch;

use pyo3::prelude::*;

/// The native half of the package `tidings`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::client::Client;
    #[pymodule_export]
    use super::commands::{Command, Commands};
    #[pymodule_export]
    use super::failure::{Failure, Gone};
    #[pymodule_export]
    use super::fold::Fold;
    #[pymodule_export]
    use super::operation::Operation;
    #[pymodule_export]
    use super::task::Task;
    #[pymodule_export]
    use super::watch::Watch;
}
