//! Authentication for Tidings with tokens and API keys.
//!
//! * [`JwtAuthenticator`] accepts JSON Web Tokens of one fixed algorithm. The keys come from a file
//!   or from the JWKS address of an identity provider.
//! * [`ApiKeys`] accepts static keys. Only their hashes are stored.
//! * [`LinkKey`] signs the links with which a person answers one question.
//! * [`TokenIssuer`] creates tokens, and [`explain`] decodes one.
//!
//! This is a separate crate, because an application with its own
//! [`Authenticator`](tidings_connections::Authenticator) needs no cryptography. Its neighbour
//! `tidings-connections` calls the authenticator.
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
mod links;
mod signatures;

pub use api_keys::{ApiKeys, ApiKeysError, NewKey};
pub use explain::{ExplainError, Explained, explain};
pub use fetch::FetchError;
pub use issue::{IssueError, TokenIssuer};
pub use jwks::JwksUrlError;
pub use jwt::{JwtAuthenticator, JwtConfig, KeySource};
pub use key::{Algorithm, KeyError, UnknownAlgorithm};
pub use links::{LinkKey, LinkKeyError};

/// The most bytes of a token or key. Anything longer does not fit into a request's headers, so it
/// is refused without being examined.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
