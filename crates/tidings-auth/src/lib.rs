//! Who may come in: tokens and keys for Tidings.
//!
//! * [`JwtAuthenticator`]: JSON Web Tokens of one pinned algorithm, with the
//!   key from a file or from the JWKS address of an identity provider.
//! * [`ApiKeys`]: static keys, of which only hashes are kept.
//! * [`TokenIssuer`] makes tokens, [`explain`] reads one.
//!
//! A crate of its own, so that who embeds Tidings with another way of knowing
//! its users, an [`Authenticator`](tidings_connections::Authenticator) of their
//! own, pulls in no cryptography. Its neighbour is `tidings-connections`, which
//! asks.
//!
//! ```
//! use std::time::Duration;
//! use tidings_auth::{Algorithm, JwtAuthenticator, JwtConfig, KeySource, TokenIssuer};
//! use tidings_connections::{Authenticator, Credentials, Permission, Permissions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = b"an example of thirty-two bytes!!";
//! let builds = Permissions::default().with(Permission::Watch, ["build-*".parse()?].into_iter().collect());
//! let issuer = TokenIssuer::new(Algorithm::HS256, secret)?;
//! let token = issuer.issue("ada", &builds, Duration::from_secs(3600))?;
//!
//! let keys = KeySource::file(Algorithm::HS256, secret)?;
//! let authenticator = JwtAuthenticator::new(JwtConfig::new(Algorithm::HS256), keys);
//! let ada = authenticator.authenticate(Credentials::new(Some(token.reveal()), None)).await?;
//! assert_eq!(ada.permissions, builds);
//! # Ok(())
//! # }
//! ```

mod api_keys;
mod claims;
mod explain;
mod fetch;
mod issue;
mod jwks;
mod jwt;
mod key;
mod signatures;

pub use api_keys::{ApiKeys, ApiKeysError, NewKey};
pub use explain::{ExplainError, Explained, explain};
pub use fetch::FetchError;
pub use issue::{IssueError, TokenIssuer};
pub use jwks::JwksUrlError;
pub use jwt::{JwtAuthenticator, JwtConfig, KeySource};
pub use key::{Algorithm, KeyError, UnknownAlgorithm};

/// A token or a key at most, in bytes: what is longer than a request's head may
/// be is none of ours, and is not looked at.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
