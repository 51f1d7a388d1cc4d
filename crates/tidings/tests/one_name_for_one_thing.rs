//! All names of the facade differ, so that all of them can be imported at once.
//!
//! The compiler checks it: two glob imports that bring different things under one name are an error
//! in this file.

#![cfg(feature = "full")]
#![deny(ambiguous_glob_reexports)]

/// Imports every name of every crate.
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

    /// Modules may share a name, because each crate has its own defaults.
    pub mod defaults {}
    /// The client has a module `indicatif`, and the facade has a feature of that name.
    pub mod indicatif {}
}

#[test]
fn everything_is_imported_at_once() {
    use everything::{BusConfig, ClientConfig, NodeConfig};
    // One type from each of three crates shows that the glob imports bring something.
    let _: (Option<BusConfig>, Option<ClientConfig>, Option<NodeConfig>) = (None, None, None);
}
