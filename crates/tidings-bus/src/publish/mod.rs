//! Publishing: the way of an event into its log.

pub(crate) mod append;
pub(crate) mod behind;
pub(crate) mod drive;
pub(crate) mod error;
pub(crate) mod prepared;
pub(crate) mod ready;
pub(crate) mod save;
pub(crate) mod stage;
pub(crate) mod waiting;
