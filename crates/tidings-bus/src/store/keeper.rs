//! Small values that layers above the bus keep by name, in addition to tasks.

use async_trait::async_trait;

use super::StoreError;

/// A name, and the value that is kept under it.
pub type KeptThing = (String, Vec<u8>);

/// A name, and the value to keep under it. `None` forgets the value.
pub type KeepChange = (String, Option<Vec<u8>>);

/// Keeps small values by name beyond the life of the process. A store on disk is a keeper. The
/// positions of clients then survive a restart together with their tasks.
#[async_trait]
pub trait Keeper: Send + Sync + 'static {
    /// Returns all kept values, in any order.
    async fn kept(&self) -> Result<Vec<KeptThing>, StoreError>;

    /// Writes all changes or none, as durably as events.
    async fn keep(&self, changes: Vec<KeepChange>) -> Result<(), StoreError>;
}
