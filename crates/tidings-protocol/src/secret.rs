//! Secrets: text that proves an identity, and that no log may show.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A token or a key. Its `Debug` output does not contain the text.
///
/// ```
/// use tidings_protocol::Secret;
///
/// let token = Secret::from("eyJhbGciOi");
/// assert_eq!(format!("{token:?}"), "Secret(…)");
/// assert_eq!(token.reveal(), "eyJhbGciOi");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Box<str>);

impl Secret {
    /// Returns the text itself, for code that checks or sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
