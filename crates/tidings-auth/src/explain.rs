//! Decoding of a token without checking it.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::decode_header;
use tidings_connections::{Permission, Permissions};
use tidings_protocol::Timestamp;

use crate::MAX_TOKEN_BYTES;
use crate::claims::{Claims, OneOrMany};

/// The reason why a text cannot be decoded as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// The text does not consist of three parts of base64url, or its first two parts are not JSON.
    #[error("this is not a JSON Web Token")]
    NoToken,
    /// The text is a JSON Web Token, but its claims are not those of Tidings.
    #[error("the claims of this token are not those of a Tidings token")]
    Claims,
}

/// The unverified content of a token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explained {
    /// The algorithm in the token's header.
    pub algorithm: String,
    /// The id of the key in the token's header.
    pub key_id: Option<String>,
    /// The subject that the token is for.
    pub subject: Option<String>,
    /// The time from which the token is valid.
    pub not_before: Option<Timestamp>,
    /// The time at which the token expires.
    pub expires_at: Timestamp,
    /// The servers that the token is for.
    pub audience: Vec<String>,
    /// The issuer of the token.
    pub issuer: Vec<String>,
    /// The permissions that the token grants.
    pub permissions: Permissions,
}

/// Decodes a token. Nothing is checked, not even the signature.
///
/// # Errors
/// Returns an error if the text is not a token, or if its claims are not those of Tidings.
pub fn explain(token: &str) -> Result<Explained, ExplainError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(ExplainError::NoToken);
    }
    let header = decode_header(token).map_err(|_| ExplainError::NoToken)?;
    let claims = insecure_decode::<Claims>(token).map_err(|_| ExplainError::Claims)?;
    let claims = claims.claims;
    let names = |names: Option<OneOrMany>| {
        let names = names.iter().flat_map(OneOrMany::names);
        names.map(str::to_owned).collect()
    };
    Ok(Explained {
        algorithm: format!("{:?}", header.alg),
        key_id: header.kid,
        subject: claims.sub,
        not_before: claims.nbf.map(seconds),
        expires_at: seconds(claims.exp),
        audience: names(claims.aud),
        issuer: names(claims.iss),
        permissions: claims.tidings,
    })
}

fn seconds(seconds: f64) -> Timestamp {
    // The cast of a float saturates at the limits of the integer.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Timestamp::from_millis((seconds * 1_000.0) as u64)
}

impl Explained {
    /// Returns true if the token has expired at `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// Returns the time for which the token is still valid.
    pub fn left(&self, now: Timestamp) -> Duration {
        let left = self.expires_at.as_millis().saturating_sub(now.as_millis());
        Duration::from_millis(left)
    }
}

/// Writes one line for each claim. Text from the token is quoted, so that it cannot send control
/// sequences to a terminal.
impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &Option<String>| {
            text.as_ref().map_or_else(
                || "nobody in particular".to_owned(),
                |text| format!("{text:?}"),
            )
        };
        writeln!(f, "subject    {}", quoted(&self.subject))?;
        for permission in Permission::ALL.iter().copied() {
            let name = permission.as_str();
            writeln!(f, "{name:<10} {}", self.permissions.scope(permission))?;
        }
        if let Some(at) = self.not_before {
            writeln!(f, "not before {at}")?;
        }
        writeln!(f, "expires    {}", self.expires_at)?;
        for (name, names) in [("audience", &self.audience), ("issuer", &self.issuer)] {
            if !names.is_empty() {
                writeln!(f, "{name:<10} {names:?}")?;
            }
        }
        write!(f, "algorithm  {}", self.algorithm)?;
        if let Some(key_id) = &self.key_id {
            write!(f, ", key {key_id:?}")?;
        }
        Ok(())
    }
}
