//! What a token says.

use serde::{Deserialize, Serialize};
use tidings_connections::Permissions;

/// The claims that are read; others are left to whoever made the token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    /// Seconds since 1970; a fraction is allowed (RFC 7519 §2).
    pub(crate) exp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iat: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aud: Option<OneOrMany>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<OneOrMany>,
    /// What may be done; without it, nothing may.
    #[serde(default)]
    pub(crate) tidings: Permissions,
}

/// A name, or a list of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Self::One(name) => vec![name],
            Self::Many(names) => names.iter().map(String::as_str).collect(),
        }
    }
}
