//! Authentication, and the permissions that result from it.
//!
//! An [`Authenticator`] turns a token into a [`Principal`]. A connection or a request then carries
//! an [`Access`], which says what it may do. Without an authenticator everything is allowed. This
//! module does not know what a token looks like: `tidings-auth` implements JWTs and API keys.

mod access;
mod authenticator;
mod permissions;
mod publishing;
mod scope;
mod signer;

pub use access::{Access, Forbidden};
pub use authenticator::{AuthError, Authenticator, Credentials, Principal};
pub use permissions::Permissions;
pub use publishing::NotPublishable;
pub use scope::Scope;
pub use signer::Signer;
pub use tidings_protocol::{Permission, UnknownPermission};
