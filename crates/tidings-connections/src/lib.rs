//! Connections of Tidings: who is connected, what each client watches, and how bytes get from the
//! logs of the bus to a socket.
//!
//! [`ConnectionManager`] registers connections, resumes clients that reconnect, keeps inboxes for
//! personal messages, sends heartbeats and closes connections that do not answer. A [`Connection`]
//! holds cursors into the logs of [`tidings_bus`] and writes from them directly to its [`Socket`].
//! There is no queue per connection, so a slow client costs no memory. Messages from a client go to
//! [`Connection::receive`].
//!
//! This crate knows neither HTTP, WebSocket frames nor a socket type. `tidings-transport`
//! implements those behind the traits [`Socket`] and [`Wire`].
//!
//! ```
//! use tidings_bus::{BusConfig, EventBus};
//! use tidings_connections::{ConnectionManager, ConnectionsConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = EventBus::new(BusConfig::default())?;
//! let manager = ConnectionManager::new(bus, ConnectionsConfig::default())?;
//! assert_eq!(manager.stats().connected, 0);
//! # Ok(())
//! # }
//! ```

mod admission;
mod auth;
mod close;
mod config;
mod connection;
pub mod defaults;
mod group;
mod group_subs;
mod holder;
mod index;
mod jobs;
mod kept;
mod limits;
mod manager;
mod opening;
mod outbound;
mod peer;
mod registry;
mod renewal;
mod resume;
mod session;
mod shared;
mod socket;
mod stats;
mod subscription;
mod subscriptions;
mod tasks;
mod timers;
mod tree_commands;
mod trees;
mod writer;

pub use admission::Admitted;
pub use auth::{
    Access, AuthError, Authenticator, Credentials, Forbidden, NotPublishable, Permission,
    Permissions, Principal, Scope, Signer, UnknownPermission,
};
pub use close::CloseReason;
pub use config::{ConnectionsConfig, ConnectionsConfigError};
pub use connection::{Connection, ConnectionInfo, SubscriptionInfo};
pub use limits::{ClientLimits, Limit, LimitStats, Limited, Rate};
pub use manager::{
    AdmissionError, ConnectRequest, ConnectionGuard, ConnectionManager, Keep, UnknownClient,
};
pub use peer::Peer;
pub use session::chain;
pub use shared::{Connections, NodeStats, SendError, Unanswered};
pub use socket::{Socket, Wire};
pub use stats::{ConnectionStates, ConnectionStats, LAG_BOUNDS};
pub use tree_commands::{CommandTreeError, MAX_COMMANDED, TreeCommand};
