//! References: a client marks a request, and the answer carries the same mark.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

use crate::{Json, JsonError};

/// The most bytes that a reference may have as JSON.
pub const MAX_REFERENCE_BYTES: usize = 256;

/// The `ref` of a message: any JSON that a client chooses. The server sends it back verbatim with
/// the answer. It has at most [`MAX_REFERENCE_BYTES`] bytes.
///
/// ```
/// use tidings_protocol::Reference;
///
/// assert_eq!(Reference::from(7).as_str(), "7");
/// assert_eq!(Reference::parse(r#"{"n":1}"#)?.as_str(), r#"{"n":1}"#);
/// # Ok::<(), tidings_protocol::ReferenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reference(Json);

impl Reference {
    /// Creates a reference from JSON text.
    ///
    /// # Errors
    /// Returns an error if the text is not JSON, nested too deeply, or too long.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        Self::try_from(Json::parse(text)?)
    }

    pub(crate) fn from_raw(raw: &RawValue) -> Result<Self, ReferenceError> {
        // Check the length before scanning, so that a long text costs nothing.
        check_length(raw.get())?;
        Ok(Self(Json::from_raw(raw)?))
    }

    /// Returns the reference as JSON text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<Json> for Reference {
    type Error = ReferenceError;

    fn try_from(json: Json) -> Result<Self, ReferenceError> {
        check_length(json.as_str())?;
        Ok(Self(json))
    }
}

impl From<u64> for Reference {
    fn from(number: u64) -> Self {
        let number = Json::from_serialize(&number).expect("a number is JSON");
        Self(number)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(<Json as Deserialize>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
crate::schema::custom!(Reference, {
    "description": "Any JSON of at most 256 bytes. The server sends it back with the answer."
});

fn check_length(text: &str) -> Result<(), ReferenceError> {
    match text.len() {
        length if length > MAX_REFERENCE_BYTES => Err(ReferenceError::TooLong { length }),
        _ => Ok(()),
    }
}

/// Why a value cannot be a reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The text is not JSON, or is nested too deeply.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The reference is too long. Use a number.
    #[error("`ref` has {length} bytes, at most {MAX_REFERENCE_BYTES} are allowed")]
    TooLong {
        /// The length of the reference in bytes.
        length: usize,
    },
}
