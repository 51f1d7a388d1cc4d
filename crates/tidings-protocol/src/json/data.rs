//! An event's data: a JSON object that is kept verbatim.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Json, JsonError};

/// An event's data: the JSON object as the producer wrote it, unknown fields included.
///
/// Like [`Json`], the text is on one line and its depth is bounded. Subscribers receive this text;
/// the server never parses it into a value.
///
/// ```
/// use tidings_protocol::Data;
///
/// let data = Data::parse(r#"{"progress":40,"eta":"soon"}"#)?;
/// assert_eq!(data.get()["eta"], "soon");
/// assert!(Data::parse("[]").is_err());
/// # Ok::<(), tidings_protocol::DataError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Data(Json);

impl Data {
    /// Returns `{}`.
    pub fn empty() -> Self {
        Self::assembled(String::from("{}"))
    }

    /// Creates data from the text of a JSON object.
    ///
    /// # Errors
    /// Returns an error if the text is not JSON, not an object, or nested too deeply.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        Self::try_from(Json::parse(text)?)
    }

    /// Creates data from a JSON value.
    ///
    /// # Errors
    /// Returns an error if the value is not an object, or is nested too deeply.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers write `json!({ … })`"
    )]
    pub fn from_value(value: Value) -> Result<Self, DataError> {
        Self::from_serialize(&value)
    }

    /// Creates data from any value that serializes to a JSON object.
    ///
    /// # Errors
    /// Returns an error if the value cannot be serialized, is not an object, or is nested too
    /// deeply.
    pub fn from_serialize(value: &(impl Serialize + ?Sized)) -> Result<Self, DataError> {
        Self::try_from(Json::from_serialize(value)?)
    }

    pub(crate) fn from_raw(raw: &RawValue) -> Result<Self, DataError> {
        Self::try_from(Json::from_raw(raw)?)
    }

    /// Wraps the text of an object that this crate has written.
    pub(crate) fn assembled(text: String) -> Self {
        let raw = RawValue::from_string(text).expect("fields put together make an object");
        Self(Json(raw))
    }

    /// Returns the text: one line of JSON.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the object, parsed.
    pub fn get(&self) -> Map<String, Value> {
        match self.0.to_value() {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// Reads the object as a type of your own.
    ///
    /// # Errors
    /// Returns an error if the object does not have that shape.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.0.deserialize()
    }

    /// Returns whether the object has no fields.
    pub fn is_empty(&self) -> bool {
        self.as_str()[1..].trim_start().starts_with('}')
    }
}

impl Default for Data {
    fn default() -> Self {
        Self::empty()
    }
}

impl TryFrom<Json> for Data {
    type Error = DataError;

    fn try_from(json: Json) -> Result<Self, DataError> {
        // `Json` has no leading space, so the first byte shows the kind of value.
        match json.as_str().as_bytes().first() {
            Some(b'{') => Ok(Self(json)),
            first => Err(DataError::NotAnObject {
                found: kind_of(first),
            }),
        }
    }
}

impl From<Data> for Json {
    fn from(data: Data) -> Self {
        data.0
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(<Json as Deserialize>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
crate::schema::custom!(Data, { "type": "object" });

/// Why a value cannot be an event's data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The text is not JSON, or is nested too deeply.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The JSON is not an object. Wrap it in one.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The kind of value that was found.
        found: &'static str,
    },
}

fn kind_of(first: Option<&u8>) -> &'static str {
    match first {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_are_data() {
        for (text, found) in [
            ("[]", "an array"),
            ("\"{}\"", "a string"),
            ("true", "a boolean"),
            ("null", "null"),
            ("-1", "a number"),
        ] {
            let error = Data::parse(text).unwrap_err().to_string();
            assert!(error.ends_with(found), "{error}");
            let error = serde_json::from_str::<Data>(text).unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
        assert!(Data::parse("{").is_err());
        assert!(Data::parse("{} {}").is_err());
    }

    #[test]
    fn emptiness_is_seen_through_spaces() {
        assert!(Data::empty().is_empty());
        assert!(Data::parse("{ \n }").unwrap().is_empty());
        assert!(!Data::parse("{\"a\":1}").unwrap().is_empty());
        assert_eq!(Data::default().as_str(), "{}");
    }

    #[test]
    fn types_go_in_and_out() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Frame {
            index: u32,
        }
        let data = Data::from_serialize(&Frame { index: 7 }).unwrap();
        assert_eq!(data.as_str(), "{\"index\":7}");
        assert_eq!(data.deserialize::<Frame>().unwrap(), Frame { index: 7 });
        assert!(Data::from_serialize(&[1]).is_err());
    }
}
