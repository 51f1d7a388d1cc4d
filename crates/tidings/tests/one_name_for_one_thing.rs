//! No two things of the facade have one name: all can be imported at once.
//!
//! The compiler checks it: two globs that bring different things by one name are an
//! error here.

#![cfg(feature = "full")]
#![deny(ambiguous_glob_reexports)]

/// Every name of every crate.
pub mod everything {
    pub use tidings::auth::*;
    pub use tidings::bus::*;
    pub use tidings::client::*;
    pub use tidings::connections::*;
    pub use tidings::describe::*;
    pub use tidings::metrics::*;
    pub use tidings::node::*;
    pub use tidings::protocol::*;
    pub use tidings::redis::*;
    pub use tidings::store::*;
    pub use tidings::tls::*;
    pub use tidings::tracing::*;
    pub use tidings::transport::*;
    pub use tidings::*;

    /// Modules may share a name: each crate has its own defaults.
    pub mod defaults {}
    /// The client's module and a feature of the facade.
    pub mod indicatif {}
}

#[test]
fn everything_is_imported_at_once() {
    use everything::{BusConfig, ClientConfig, NodeConfig};
    // One of each of three crates, to see that the globs bring something.
    let _: (Option<BusConfig>, Option<ClientConfig>, Option<NodeConfig>) = (None, None, None);
}
