//! What layers above the bus keep beside the tasks: small things by name.

use async_trait::async_trait;

use super::StoreError;

/// What is kept under a name, and its name.
pub type KeptThing = (String, Vec<u8>);

/// A value to keep under a name; none forgets it.
pub type KeepChange = (String, Option<Vec<u8>>);

/// Keeps small things by name beyond the process. A store on disk is one, so
/// that clients' positions outlive a restart together with the tasks they are
/// positions in.
#[async_trait]
pub trait Keeper: Send + Sync + 'static {
    /// All that is kept, in any order.
    async fn kept(&self) -> Result<Vec<KeptThing>, StoreError>;

    /// Writes, all or none, as durable as events are.
    async fn keep(&self, changes: Vec<KeepChange>) -> Result<(), StoreError>;
}
