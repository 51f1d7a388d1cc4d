//! Structs that are read from JSON objects only.
//!
//! Serde's derive also accepts an array as a struct, field by field. On the wire that would be a
//! second form of each message that no specification mentions.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Reads `T` from a JSON object.
pub(crate) fn deserialize<'de, T, D>(deserializer: D, what: &'static str) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct ObjectVisitor<T> {
        what: &'static str,
        output: PhantomData<T>,
    }

    impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} (a JSON object)", self.what)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(ObjectVisitor {
        what,
        output: PhantomData,
    })
}

/// Reads `T` from the text of a JSON object.
pub(crate) fn from_str<'de, T: Deserialize<'de>>(
    text: &'de str,
    what: &'static str,
) -> Result<T, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = deserialize(&mut deserializer, what)?;
    deserializer.end()?;
    Ok(value)
}
