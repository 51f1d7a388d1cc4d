//! Creation of tokens.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header};
use tidings_connections::Permissions;
use tidings_protocol::Secret;

use crate::MAX_TOKEN_BYTES;
use crate::claims::{Claims, OneOrMany};
use crate::jwt::is_subject;
use crate::key::{self, Algorithm, KeyError};
use crate::signatures;

/// The reason why a token cannot be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The subject is empty, longer than 256 characters, or contains control characters.
    #[error("a subject must have 1 to 256 characters and no control characters")]
    Subject,
    /// The token names so many tasks that it would not fit into a request's headers. Use patterns.
    #[error(
        "the token would have more than {MAX_TOKEN_BYTES} bytes: name fewer tasks, or patterns"
    )]
    TooLong,
    /// The key cannot sign.
    #[error("the key cannot sign")]
    Signing,
}

/// Creates tokens that [`JwtAuthenticator`](crate::JwtAuthenticator) accepts.
pub struct TokenIssuer {
    algorithm: Algorithm,
    key: EncodingKey,
    audience: Option<String>,
    issuer: Option<String>,
}

impl TokenIssuer {
    /// Creates an issuer from the bytes of a key file. For HS256 the file contains the secret; a
    /// line break at its end is ignored. For other algorithms it contains a private key as PEM.
    ///
    /// # Errors
    /// Returns an error if the file does not contain a key for the algorithm.
    pub fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, KeyError> {
        signatures::install();
        Ok(Self {
            algorithm,
            key: key::encoding(algorithm, key)?,
            audience: None,
            issuer: None,
        })
    }

    /// Sets the audience of the tokens.
    #[must_use]
    pub fn audience(mut self, name: Option<String>) -> Self {
        self.audience = name;
        self
    }

    /// Sets the issuer that the tokens name.
    #[must_use]
    pub fn issuer(mut self, name: Option<String>) -> Self {
        self.issuer = name;
        self
    }

    /// Creates a token for `subject` that is valid from now on. If `subject` is empty, the token
    /// names no subject.
    ///
    /// # Errors
    /// Returns [`IssueError`] if the token cannot be created.
    pub fn issue(
        &self,
        subject: &str,
        permissions: &Permissions,
        lifetime: Duration,
    ) -> Result<Secret, IssueError> {
        if !subject.is_empty() && !is_subject(subject) {
            return Err(IssueError::Subject);
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since.unwrap_or_default().as_secs();
        let ends = now.saturating_add(lifetime.as_secs().max(1));
        // Round to whole seconds. A double is exact for them for the next 285 million years.
        #[allow(clippy::cast_precision_loss)]
        let claims = Claims {
            sub: (!subject.is_empty()).then(|| subject.to_owned()),
            exp: ends as f64,
            nbf: None,
            iat: Some(now as f64),
            aud: self.audience.clone().map(OneOrMany::One),
            iss: self.issuer.clone().map(OneOrMany::One),
            tidings: permissions.clone(),
        };
        let header = Header::new(self.algorithm.of_library());
        let token = jsonwebtoken::encode(&header, &claims, &self.key);
        let token = token.map_err(|_| IssueError::Signing)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IssueError::TooLong);
        }
        Ok(token.into())
    }
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssuer")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}
