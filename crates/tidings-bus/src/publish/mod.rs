//! Publishing: the way of an event into its log.

pub(crate) mod append;
pub(crate) mod behind;
pub(crate) mod emit;
pub(crate) mod group;
pub(crate) mod together;
