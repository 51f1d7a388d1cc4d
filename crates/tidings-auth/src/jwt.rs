//! Verification of JSON Web Tokens (RFC 7519), following the advice of RFC 8725.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use tidings_connections::{AuthError, Authenticator, Credentials, Principal};
use tidings_protocol::Timestamp;

use crate::MAX_TOKEN_BYTES;
use crate::claims::Claims;
use crate::jwks::{Jwks, JwksUrlError};
use crate::key::{self, Algorithm, KeyError};
use crate::signatures;

/// The most characters of a subject, which appears in lists and commands.
const MAX_SUBJECT_CHARS: usize = 256;

/// The rules that a token must meet.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JwtConfig {
    /// The only accepted algorithm. The algorithm in a token's header is not trusted.
    pub algorithm: Algorithm,
    /// The audiences of this server. If the list is empty, a token must not name an audience.
    pub audience: Vec<String>,
    /// The accepted issuers. If the list is empty, any issuer with the key is accepted.
    pub issuer: Vec<String>,
    /// The tolerated difference between the issuer's clock and ours. Default: 30 s, at most 5 min.
    pub leeway: Duration,
}

impl JwtConfig {
    /// The largest tolerated difference. A larger one would in fact extend the life of tokens.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(300);

    /// Creates a configuration for tokens of one algorithm.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Duration::from_secs(30),
        }
    }

    /// Sets the audiences of this server.
    #[must_use]
    pub fn audience(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.audience = names.into_iter().collect();
        self
    }

    /// Sets the accepted issuers.
    #[must_use]
    pub fn issuer(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.issuer = names.into_iter().collect();
        self
    }

    /// Sets the tolerated difference of clocks, up to [`MAX_LEEWAY`](Self::MAX_LEEWAY).
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(Self::MAX_LEEWAY);
        self
    }

    pub(crate) fn validation(&self) -> Validation {
        let mut validation = Validation::new(self.algorithm.of_library());
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if !self.audience.is_empty() {
            validation.set_audience(&self.audience);
            required.push("aud");
        }
        if !self.issuer.is_empty() {
            validation.set_issuer(&self.issuer);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

/// The source of the keys that verify tokens.
pub struct KeySource(Source);

enum Source {
    One(Arc<DecodingKey>),
    Jwks(Arc<Jwks>),
}

impl KeySource {
    /// Creates a source from the bytes of a file. For HS256 the file contains the secret; a line
    /// break at its end is ignored. For other algorithms it contains a public key as PEM.
    ///
    /// # Errors
    /// Returns an error if the file does not contain a key for the algorithm.
    pub fn file(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = key::decoding(algorithm, bytes)?;
        Ok(Self(Source::One(Arc::new(key))))
    }

    /// Creates a source from a JWKS address (RFC 7517).
    ///
    /// Keys are fetched when the first key is needed and when a token names an unknown key, at most
    /// every ten seconds. Old keys stay in use for up to a day while they are renewed in the
    /// background.
    ///
    /// # Errors
    /// Returns an error if the address is not `https`, or if the algorithm is HS256. `http` is
    /// allowed only to this machine.
    pub fn jwks(algorithm: Algorithm, url: &str) -> Result<Self, JwksUrlError> {
        Ok(Self(Source::Jwks(Arc::new(Jwks::new(algorithm, url)?))))
    }

    async fn find(&self, kid: Option<&str>) -> Result<Arc<DecodingKey>, AuthError> {
        match &self.0 {
            Source::One(key) => Ok(Arc::clone(key)),
            Source::Jwks(jwks) => jwks.find(kid).await,
        }
    }
}

impl std::fmt::Debug for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Source::One(_) => f.write_str("KeySource(a key)"),
            Source::Jwks(jwks) => write!(f, "KeySource({})", jwks.url()),
        }
    }
}

/// An authenticator that accepts JSON Web Tokens.
#[derive(Debug)]
pub struct JwtAuthenticator {
    config: JwtConfig,
    validation: Validation,
    keys: RwLock<Arc<KeySource>>,
}

impl JwtAuthenticator {
    /// Creates an authenticator with these keys.
    pub fn new(config: JwtConfig, keys: KeySource) -> Self {
        signatures::install();
        Self {
            validation: config.validation(),
            config,
            keys: RwLock::new(Arc::new(keys)),
        }
    }

    /// Replaces the keys for future tokens. Existing connections stay open until their tokens
    /// expire.
    pub fn replace(&self, keys: KeySource) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn keys(&self) -> Arc<KeySource> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the keys before the first token arrives, so that an operator learns early about a
    /// wrong address. Does nothing if the keys come from a file.
    ///
    /// # Errors
    /// Returns an error if the keys cannot be fetched. Until they can be, tokens are refused as
    /// unavailable.
    ///
    /// # Cancel safety
    /// Dropping the future ends the request. The next request follows ten seconds later at the
    /// earliest.
    pub async fn warm_up(&self) -> Result<(), crate::FetchError> {
        match &self.keys().0 {
            Source::One(_) => Ok(()),
            Source::Jwks(jwks) => jwks.warm_up().await,
        }
    }

    fn principal(&self, claims: Claims) -> Result<Principal, AuthError> {
        let ends = claims.exp + self.config.leeway.as_secs_f64();
        // The cast of a float saturates, and a timestamp is limited to the year 9999.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let ends = Timestamp::from_millis((ends * 1_000.0) as u64);
        let principal = Principal::new(claims.tidings).expires_at(Some(ends));
        match claims.sub {
            Some(name) if !is_subject(&name) => Err(AuthError::Invalid),
            Some(name) => Ok(principal.subject(name)),
            None => Ok(principal),
        }
    }
}

/// Returns true if a name is safe to display: not too long, and without control characters.
pub(crate) fn is_subject(name: &str) -> bool {
    !name.is_empty()
        && name.chars().count() <= MAX_SUBJECT_CHARS
        && !name.chars().any(char::is_control)
}

#[async_trait]
impl Authenticator for JwtAuthenticator {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        let token = credentials.token.ok_or(AuthError::Missing)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed);
        }
        let header = decode_header(token).map_err(|error| refusal(&error))?;
        // The header names extensions that must be understood (RFC 7515 §4.1.11). None are
        // supported.
        if header.crit.is_some() {
            return Err(AuthError::Invalid);
        }
        if header.alg != self.config.algorithm.of_library() {
            return Err(AuthError::Invalid);
        }
        let key = self.keys().find(header.kid.as_deref()).await?;
        let token = decode::<Claims>(token, &key, &self.validation);
        self.principal(token.map_err(|error| refusal(&error))?.claims)
    }
}

/// Returns the kind of error in a token. The library's own text is not used, because it could
/// repeat parts of the token.
pub(crate) fn refusal(error: &jsonwebtoken::errors::Error) -> AuthError {
    match error.kind() {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer => AuthError::NotForHere,
        ErrorKind::MissingRequiredClaim(claim) if claim != "exp" => AuthError::NotForHere,
        ErrorKind::InvalidToken
        | ErrorKind::Base64(_)
        | ErrorKind::Json(_)
        | ErrorKind::Utf8(_)
        | ErrorKind::InvalidClaimFormat(_) => AuthError::Malformed,
        _ => AuthError::Invalid,
    }
}
