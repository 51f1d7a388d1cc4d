//! JSON that is carried verbatim. It is checked once, and never parsed again on its way.

mod build;
mod data;
mod same;
mod scan;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) use build::Fields;
pub use data::{Data, DataError};
pub(crate) use scan::key_at;
use scan::{Scan, on_one_line};

/// The greatest number of nesting levels in carried JSON. It is enough for data that people make,
/// and small enough that no parser's stack overflows.
pub const MAX_DEPTH: usize = 64;

/// Any JSON value, kept as text: a task's result, a tool's input.
///
/// The text is on one line, because line breaks between tokens are replaced by spaces. It nests at
/// most [`MAX_DEPTH`] levels, and can be read as a [`Value`]. Two values are equal (`==`) if their
/// texts are equal. [`is_same_value`](Self::is_same_value) compares the values.
///
/// ```
/// use tidings_protocol::Json;
///
/// let json = Json::parse("[1.50, 2]")?;
/// assert_eq!(json.as_str(), "[1.50, 2]");
/// assert_eq!(json.to_value(), serde_json::json!([1.5, 2]));
/// # Ok::<(), tidings_protocol::JsonError>(())
/// ```
#[derive(Clone)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Creates a value from JSON text.
    ///
    /// # Errors
    /// Returns an error if the text is not JSON, or is nested too deeply.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        // Scan first: the scan bounds the nesting for the parsers that follow.
        let scan = Scan::of(text);
        scan.check()?;
        let raw = serde_json::from_str::<&RawValue>(text).map_err(JsonError::Syntax)?;
        Self::checked(raw, scan)
    }

    /// Wraps text that a parser has already accepted as one JSON value.
    pub(crate) fn from_raw(raw: &RawValue) -> Result<Self, JsonError> {
        let scan = Scan::of(raw.get());
        scan.check()?;
        Self::checked(raw, scan)
    }

    fn checked(raw: &RawValue, scan: Scan) -> Result<Self, JsonError> {
        if scan.suspicious {
            // A lone surrogate or an enormous number follows the grammar, but no parser can turn it
            // into a value.
            serde_json::from_str::<Value>(raw.get()).map_err(JsonError::Syntax)?;
        }
        if scan.line_breaks {
            let text = on_one_line(raw.get());
            return RawValue::from_string(text)
                .map(Self)
                .map_err(JsonError::Syntax);
        }
        Ok(Self(raw.to_owned()))
    }

    /// Serializes `value` as JSON.
    ///
    /// # Errors
    /// Returns an error if the value cannot be serialized, or is nested too deeply.
    pub fn from_serialize(value: &(impl Serialize + ?Sized)) -> Result<Self, JsonError> {
        let raw = to_raw_value(value).map_err(JsonError::Syntax)?;
        Scan::of(raw.get()).check()?;
        Ok(Self(raw))
    }

    /// Returns the text: one line of JSON.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Returns the value, parsed.
    pub fn to_value(&self) -> Value {
        // The text was checked when the value was created, so this cannot fail. If that check had a
        // bug, `null` is better than a panic.
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }

    /// Returns whether two values are equal, however they are spelt: `1` and `1.0` are the same
    /// number, and the order of an object's keys has no meaning.
    ///
    /// ```
    /// use tidings_protocol::Json;
    ///
    /// let [one, also] = [Json::parse("[1]")?, Json::parse("[1.0]")?];
    /// assert!(one.is_same_value(&also));
    /// assert_ne!(one, also);
    /// # Ok::<(), tidings_protocol::JsonError>(())
    /// ```
    pub fn is_same_value(&self, other: &Self) -> bool {
        self == other || same::same(&self.to_value(), &other.to_value())
    }

    /// Reads the value as a type of your own.
    ///
    /// # Errors
    /// Returns an error if the value does not have that shape.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<Value> for Json {
    type Error = JsonError;

    fn try_from(value: Value) -> Result<Self, JsonError> {
        Self::from_serialize(&value)
    }
}

impl Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let scan = Scan::of(raw.get());
        scan.check().map_err(de::Error::custom)?;
        if scan.suspicious || scan.line_breaks {
            Self::checked(&raw, scan).map_err(de::Error::custom)
        } else {
            Ok(Self(raw))
        }
    }
}

#[cfg(feature = "schema")]
crate::schema::custom!(Json, {});

/// Why text or a value cannot be carried as JSON.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON. The message says where.
    #[error("{0}")]
    Syntax(serde_json::Error),
    /// The value is nested too deeply. Flatten it.
    #[error("JSON is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_but_on_one_line() {
        let json = Json::parse(" {\"b\":\r\n 1.50,\n\"a\": \"x\\ny\"} ").unwrap();
        assert_eq!(json.as_str(), "{\"b\":   1.50, \"a\": \"x\\ny\"}");
    }

    #[test]
    fn hostile_nesting_is_refused_without_recursion() {
        let deep = "[".repeat(1_000_000);
        assert!(matches!(Json::parse(&deep), Err(JsonError::TooDeep)));
        let fits = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
        assert_eq!(Json::parse(&fits).unwrap().as_str(), fits);
        let brackets_in_text = format!("\"{}\"", "[".repeat(1_000));
        assert!(Json::parse(&brackets_in_text).is_ok());
    }

    #[test]
    fn what_no_reader_can_read_is_refused() {
        for text in [
            "\"\\ud800\"",
            "1e999",
            "[-1E+999]",
            &"9".repeat(400),
            "{\"\\udc00\":1}",
        ] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        for text in [
            "\"\\ud83d\\ude00\"",
            "1e3",
            "[-1E-999]",
            &"9".repeat(300),
            "\"1e999\"",
        ] {
            assert!(Json::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn it_passes_through_values_and_readers() {
        let json = Json::parse("{\"a\":[1,null]}").unwrap();
        let value = serde_json::to_value(&json).unwrap();
        assert_eq!(serde_json::from_value::<Json>(value).unwrap(), json);
        let read: Json = serde_json::from_reader(json.as_str().as_bytes()).unwrap();
        assert_eq!(read, json);
    }
}
