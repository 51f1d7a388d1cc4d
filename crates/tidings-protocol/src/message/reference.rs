//! A client's own mark on a message, which comes back with the answer.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

use crate::{Json, JsonError};

/// Bytes that a reference may have as JSON.
pub const MAX_REFERENCE_BYTES: usize = 256;

/// `ref`: any JSON that a client puts on a message, given back verbatim with
/// the answer. At most [`MAX_REFERENCE_BYTES`].
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
    /// Takes JSON text.
    ///
    /// # Errors
    /// Not JSON, nested too deeply, or too long.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        Self::try_from(Json::parse(text)?)
    }

    pub(crate) fn from_raw(raw: &RawValue) -> Result<Self, ReferenceError> {
        // Before the text is looked at: length is all that a long one costs.
        check_length(raw.get())?;
        Ok(Self(Json::from_raw(raw)?))
    }

    /// The text.
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
    "description": "Any JSON of at most 256 bytes; it comes back with the answer."
});

fn check_length(text: &str) -> Result<(), ReferenceError> {
    match text.len() {
        length if length > MAX_REFERENCE_BYTES => Err(ReferenceError::TooLong { length }),
        _ => Ok(()),
    }
}

/// Why something cannot be a reference.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// No JSON that can be carried.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Too long: use a number.
    #[error("`ref` has {length} bytes, at most {MAX_REFERENCE_BYTES} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}
