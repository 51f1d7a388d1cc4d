//! Who somebody is, and what that allows.
//!
//! An [`Authenticator`] turns a token into a [`Principal`]; a connection, or a
//! request, then carries an [`Access`] that says what it may do. Without an
//! authenticator everything is allowed. What a token looks like is not known
//! here: `tidings-auth` has JWTs and API keys.

mod access;
mod authenticator;
mod permissions;
mod publishing;
mod scope;
mod signer;

pub use access::{Access, Forbidden};
pub use authenticator::{AuthError, Authenticator, Credentials, Principal};
pub use permissions::{Permission, Permissions, UnknownPermission};
pub use publishing::NotPublishable;
pub use scope::Scope;
pub use signer::Signer;
