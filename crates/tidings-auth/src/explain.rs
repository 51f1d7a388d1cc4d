//! Reading a token, without believing it.

use std::fmt;
use std::time::Duration;

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::decode_header;
use tidings_connections::{Permission, Permissions};
use tidings_protocol::Timestamp;

use crate::MAX_TOKEN_BYTES;
use crate::claims::{Claims, OneOrMany};

/// The text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// Three parts of base64url, the first two JSON, are what makes one.
    #[error("this is no JSON Web Token")]
    NoToken,
    /// A JSON Web Token of another kind.
    #[error("the claims of this token are not of the kind that is used here")]
    Claims,
}

/// What a token says of itself; whether that is true is another question.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explained {
    /// How it is said to be signed.
    pub algorithm: String,
    /// Which key is said to have signed it.
    pub key_id: Option<String>,
    /// Whom it is for.
    pub subject: Option<String>,
    /// From when on it holds.
    pub not_before: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Which servers it is for.
    pub audience: Vec<String>,
    /// Who made it.
    pub issuer: Vec<String>,
    /// What it allows.
    pub permissions: Permissions,
}

/// Reads a token. Nothing is checked, least of all its signature.
///
/// # Errors
/// It is no token, or not of the kind that is used here.
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
    // A cast of a float is cut to what fits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Timestamp::from_millis((seconds * 1_000.0) as u64)
}

impl Explained {
    /// Whether its time is over at `now`.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// How long it still holds.
    pub fn left(&self, now: Timestamp) -> Duration {
        let left = self.expires_at.as_millis().saturating_sub(now.as_millis());
        Duration::from_millis(left)
    }
}

/// One line for each thing that it says; text of the token's own is quoted, so
/// that it can play no tricks on a terminal.
impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &Option<String>| {
            text.as_ref().map_or_else(
                || "nobody in particular".to_owned(),
                |text| format!("{text:?}"),
            )
        };
        writeln!(f, "subject    {}", quoted(&self.subject))?;
        for permission in Permission::ALL {
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
