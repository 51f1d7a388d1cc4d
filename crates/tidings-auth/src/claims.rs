//! The claims of a token.

use serde::{Deserialize, Serialize};
use tidings_connections::Permissions;

/// The claims that are read. All other claims are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub: Option<String>,
    /// The expiry in seconds since 1970. RFC 7519 §2 allows a fraction.
    pub(crate) exp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iat: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aud: Option<OneOrMany>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) iss: Option<OneOrMany>,
    /// The permissions. A token without this claim permits nothing.
    #[serde(default)]
    pub(crate) tidings: Permissions,
}

/// One name, or a list of names.
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
