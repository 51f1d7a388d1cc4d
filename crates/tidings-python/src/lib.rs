//! The native half of the Python package `tidings`: handles to `tidings-client`.
//!
//! The public API is in the folder `python`. It is written in Python on top of the classes here.
//! This crate has three rules:
//!
//! - **Values cross as JSON text**, so that there is one parser on each side.
//! - **No code here waits while it holds the interpreter.** A wait is an
//!   [`Operation`](operation::Operation) or a stream with a [`Bell`](bell::Bell).
//! - **Each object belongs to one process.** A forked child never touches an object of its parent, not
//!   even to free it: see [`Owned`](owned::Owned). Code that needs randomness runs on the client's
//!   own thread, because a forked child inherits the generators of the thread that forked.
//!
//! All decisions are made in its neighbour, `tidings-client`.

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
