//! JSON Web Tokens (RFC 7519), held to the advice of RFC 8725.

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

/// Characters that a subject may have: it is shown in lists and commands.
const MAX_SUBJECT_CHARS: usize = 256;

/// Which tokens are taken.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct JwtConfig {
    /// The one algorithm; what a token's header says is not believed.
    pub algorithm: Algorithm,
    /// The audiences that are this server; with none, a token must name none.
    pub audience: Vec<String>,
    /// The issuers that are believed; with none, whoever has the key.
    pub issuer: Vec<String>,
    /// How far the issuer's clock may be from ours. Default 30 s, at most 5 min.
    pub leeway: Duration,
}

impl JwtConfig {
    /// The most that clocks may differ: more would be a longer life by another name.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(300);

    /// Tokens of one algorithm.
    pub fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway: Duration::from_secs(30),
        }
    }

    /// Sets the audiences that are this server.
    #[must_use]
    pub fn audience(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.audience = names.into_iter().collect();
        self
    }

    /// Sets the issuers that are believed.
    #[must_use]
    pub fn issuer(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.issuer = names.into_iter().collect();
        self
    }

    /// Sets how far clocks may differ; more than [`MAX_LEEWAY`](Self::MAX_LEEWAY) is cut to it.
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

/// Where keys come from.
pub struct KeySource(Source);

enum Source {
    One(Arc<DecodingKey>),
    Jwks(Arc<Jwks>),
}

impl KeySource {
    /// From the bytes of a file: for HS256 the secret, less a line end; else a
    /// public key as PEM.
    ///
    /// # Errors
    /// Not the key that the algorithm needs.
    pub fn file(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let key = key::decoding(algorithm, bytes)?;
        Ok(Self(Source::One(Arc::new(key))))
    }

    /// Takes keys from a JWKS address (RFC 7517).
    ///
    /// The address is asked when a key is first needed and when a token names an
    /// unknown key, at most every ten seconds. Old keys serve for up to a day
    /// while they are renewed in the background.
    ///
    /// # Errors
    /// The address is not `https` (`http` is allowed to this machine), or the
    /// algorithm is HS256.
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

/// Lets in who shows a JSON Web Token.
#[derive(Debug)]
pub struct JwtAuthenticator {
    config: JwtConfig,
    validation: Validation,
    keys: RwLock<Arc<KeySource>>,
}

impl JwtAuthenticator {
    /// With these keys.
    pub fn new(config: JwtConfig, keys: KeySource) -> Self {
        signatures::install();
        Self {
            validation: config.validation(),
            config,
            keys: RwLock::new(Arc::new(keys)),
        }
    }

    /// Takes other keys for the tokens that are shown from now on. Connections
    /// that are there stay until their tokens end.
    pub fn replace(&self, keys: KeySource) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn keys(&self) -> Arc<KeySource> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for the keys ahead of the first token: an operator learns early
    /// that an address is wrong. Keys from a file are there already.
    ///
    /// # Errors
    /// They cannot be had; tokens are refused as unavailable until they can.
    pub async fn warm_up(&self) -> Result<(), crate::FetchError> {
        match &self.keys().0 {
            Source::One(_) => Ok(()),
            Source::Jwks(jwks) => jwks.warm_up().await,
        }
    }

    fn principal(&self, claims: Claims) -> Result<Principal, AuthError> {
        let ends = claims.exp + self.config.leeway.as_secs_f64();
        // A cast of a float is cut to what fits, and a timestamp to the year 9999.
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

/// What can be shown anywhere: no line ends, no escapes, no novels.
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
        // Extensions that must be understood (RFC 7515 §4.1.11): we know none.
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

/// Says what is wrong with a token, and no more: the library's own text could
/// repeat parts of it.
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
