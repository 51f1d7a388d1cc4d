//! Trees of tasks: the parent of each task, and the view of its children that a parent shows.
//!
//! [`forest`] and [`kin`] are the pure parts. [`keep`] keeps them current as tasks change.
//! [`publish`] updates the states of parents, and [`ask`] answers callers.
//! `docs/decisions/014-trees.md` gives the reasons.

pub(crate) mod due;
pub(crate) mod forest;
pub(crate) mod keep;
pub(crate) mod kin;
pub(crate) mod publish;
pub(crate) mod read;
#[cfg(test)]
mod tests;
pub(crate) mod update;
pub(crate) mod watchers;
