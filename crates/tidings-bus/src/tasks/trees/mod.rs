//! Trees of tasks: the parent of each task, and the view of its children that a parent shows.
//!
//! [`forest`] and [`kin`] are the pure parts. [`keep`] keeps them current as tasks change.
//! [`publish`] updates the states of parents, and [`ask`] answers callers.
//! `docs/decisions/014-trees.md` gives the reasons.

mod ask;
pub(crate) mod families;
pub(crate) mod forest;
mod keep;
pub(crate) mod kin;
pub(crate) mod publish;
#[cfg(test)]
mod tests;
pub(crate) mod watchers;

pub(crate) use keep::{KIN_BYTES, Trees};
