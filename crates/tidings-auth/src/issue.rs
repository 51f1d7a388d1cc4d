//! Making tokens.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header};
use tidings_connections::Permissions;
use tidings_protocol::Secret;

use crate::MAX_TOKEN_BYTES;
use crate::claims::{Claims, OneOrMany};
use crate::jwt::is_subject;
use crate::key::{self, Algorithm, KeyError};
use crate::signatures;

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// Empty, longer than 256 characters, or with control characters.
    #[error("a subject has 1 to 256 characters, none of them control characters")]
    Subject,
    /// More tasks than fit into a request's head; use patterns.
    #[error(
        "the token would have more than {MAX_TOKEN_BYTES} bytes: name fewer tasks, or patterns"
    )]
    TooLong,
    /// The key does not sign.
    #[error("the key cannot sign")]
    Signing,
}

/// Makes tokens that [`JwtAuthenticator`](crate::JwtAuthenticator) takes.
pub struct TokenIssuer {
    algorithm: Algorithm,
    key: EncodingKey,
    audience: Option<String>,
    issuer: Option<String>,
}

impl TokenIssuer {
    /// With the bytes of a key's file: for HS256 the secret, less a line end;
    /// else a private key as PEM.
    ///
    /// # Errors
    /// Not the key that the algorithm needs.
    pub fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, KeyError> {
        signatures::install();
        Ok(Self {
            algorithm,
            key: key::encoding(algorithm, key)?,
            audience: None,
            issuer: None,
        })
    }

    /// Sets whom the tokens are for.
    #[must_use]
    pub fn audience(mut self, name: Option<String>) -> Self {
        self.audience = name;
        self
    }

    /// Sets who says so.
    #[must_use]
    pub fn issuer(mut self, name: Option<String>) -> Self {
        self.issuer = name;
        self
    }

    /// A token for `subject`, empty for nobody in particular, from now on.
    ///
    /// # Errors
    /// See [`IssueError`].
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
        // Whole seconds: a double holds them exactly for the next 285 million years.
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
