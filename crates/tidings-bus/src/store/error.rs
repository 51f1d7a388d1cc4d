//! The reason why a store did not do its work.

use tidings_protocol::Offset;

/// The reason why a store did not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The events do not follow the stored events, because another node has written. Read the
    /// stored events, and decide again.
    #[error("the log's next offset is {expected}, not {got}")]
    Conflict {
        /// The offset that the store would have accepted.
        expected: Offset,
        /// The offset that the append had.
        got: Offset,
    },
    /// The store has an event with this id, but this bus does not know of it.
    #[error("an event with this id is there already, at offset {offset}")]
    Duplicate {
        /// The offset of that event.
        offset: Offset,
    },
    /// The medium failed (full, gone, slow). The change may or may not have been made, because a
    /// late failure can come after the write. Try again later.
    #[error("the storage is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
