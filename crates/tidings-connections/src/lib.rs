//! Connections of Tidings: who is connected, what each one watches, and how
//! bytes get from the bus's logs to its socket.
//!
//! [`ConnectionManager`] registers connections, resumes clients that come back,
//! keeps inboxes for personal messages, sends heartbeats and closes what does
//! not answer. A [`Connection`] holds cursors into the logs of
//! [`tidings_bus`] and writes from them straight to its [`Socket`]; there is no
//! queue per connection, so a slow client costs no memory. What a client sends
//! goes to [`Connection::receive`].
//!
//! This crate knows neither HTTP nor WebSocket frames nor a socket type: those
//! are `tidings-transport`'s, behind the traits [`Socket`] and [`Wire`].
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
mod expiry;
mod heartbeat;
mod jobs;
mod kept;
mod limits;
mod manager;
mod outbound;
mod peer;
mod pending;
mod registry;
mod renewal;
mod resume;
mod session;
mod shared;
mod socket;
mod stalls;
mod stats;
mod subscriptions;
mod write;

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
