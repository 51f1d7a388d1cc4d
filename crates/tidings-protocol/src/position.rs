//! Places in a task's log: offset, epoch and position.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::ids::{Alphabet, IdError, Rule};

/// The number of an event within its task's log: 1, 2, 3 … without holes.
///
/// [`Offset::ZERO`] is the place before the first event. The largest offset is 2⁵³−1, the largest
/// integer that JavaScript represents exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The place before the first event.
    pub const ZERO: Self = Self(0);
    /// The offset of the first event.
    pub const FIRST: Self = Self(1);
    /// The largest offset: 2⁵³−1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Creates an offset from a number up to 2⁵³−1.
    ///
    /// # Errors
    /// Returns an error if the number is larger.
    pub const fn new(value: u64) -> Result<Self, OffsetError> {
        if value <= Self::MAX.0 {
            Ok(Self(value))
        } else {
            Err(OffsetError::TooLarge { value })
        }
    }

    /// Returns the offset as a number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the next offset. [`MAX`](Self::MAX) returns itself.
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < Self::MAX.0 {
            Self(self.0 + 1)
        } else {
            self
        }
    }

    /// Returns the previous offset. [`ZERO`](Self::ZERO) returns itself.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Offset {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        // `u64::from_str` accepts a leading `+`, but an offset has only one spelling.
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(OffsetError::NotANumber);
        }
        Self::new(
            text.parse()
                .map_err(|_| OffsetError::TooLarge { value: u64::MAX })?,
        )
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Why a value is not an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OffsetError {
    /// The number is larger than 2⁵³−1.
    #[error("an offset is at most {}, not {value}", Offset::MAX)]
    TooLarge {
        /// The number. `u64::MAX` stands for anything larger than that.
        value: u64,
    },
    /// The text is not a sequence of decimal digits.
    #[error("an offset must be a decimal number")]
    NotANumber,
}

const EPOCH: Rule = Rule {
    id: "epoch",
    alphabet: Alphabet::Epoch,
    max: 32,
};

/// Identifies one numbering of a task's offsets: 1–32 of `A–Z a–z 0–9 . _ -`.
///
/// A log that cannot continue its old numbers gets a new epoch. Epochs can only be compared for
/// equality.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// Creates an epoch from text.
    ///
    /// # Errors
    /// Returns an error if the text is empty or too long, or contains a character that is not
    /// allowed.
    pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
        let text = text.as_ref();
        EPOCH.check(text)?;
        Ok(Self(text.into()))
    }

    /// Returns the epoch as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Epoch {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl AsRef<str> for Epoch {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

crate::text::text_serde!(Epoch, "an epoch", as_str);

/// An offset together with its epoch. Its text form is `epoch:offset`.
///
/// ```
/// use tidings_protocol::Position;
///
/// let position: Position = "3f9a:42".parse()?;
/// assert_eq!(position.offset.get(), 42);
/// assert_eq!(position.to_string(), "3f9a:42");
/// # Ok::<(), tidings_protocol::PositionError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The epoch of the offset.
    pub epoch: Epoch,
    /// The offset of the last event seen. The events that follow come after it.
    pub offset: Offset,
}

impl Position {
    /// Creates a position from an epoch and an offset.
    pub const fn new(epoch: Epoch, offset: Offset) -> Self {
        Self { epoch, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, offset) = text.rsplit_once(':').ok_or(PositionError::NoColon)?;
        Ok(Self {
            epoch: epoch.parse()?,
            offset: offset.parse()?,
        })
    }
}

crate::text::text_serde!(Position, "a position `epoch:offset`");

/// Why text is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PositionError {
    /// There is no colon between epoch and offset.
    #[error("a position is `epoch:offset`, or `0` for the start")]
    NoColon,
    /// The part before the colon is not an epoch.
    #[error(transparent)]
    Epoch(#[from] IdError),
    /// The part after the colon is not an offset.
    #[error(transparent)]
    Offset(#[from] OffsetError),
}

/// Where a subscriber continues: after a position, or at the start.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Since {
    /// At the oldest retained event. Its text form is `0`.
    Start,
    /// After the last event seen.
    After(Position),
}

impl From<Position> for Since {
    fn from(position: Position) -> Self {
        Self::After(position)
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("0"),
            Self::After(position) => position.fmt(f),
        }
    }
}

impl FromStr for Since {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        if text == "0" {
            Ok(Self::Start)
        } else {
            text.parse().map(Self::After)
        }
    }
}

impl Serialize for Since {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SinceVisitor;

        impl de::Visitor<'_> for SinceVisitor {
            type Value = Since;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a position `epoch:offset`, or `0`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Since, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Since, E> {
                match number {
                    0 => Ok(Since::Start),
                    other => Err(E::invalid_value(de::Unexpected::Unsigned(other), &self)),
                }
            }
        }

        deserializer.deserialize_any(SinceVisitor)
    }
}

#[cfg(feature = "schema")]
mod schema {
    use super::{Epoch, Offset, Position, Since};

    crate::schema::text!(Epoch, "epoch", super::EPOCH.pattern());
    crate::schema::text!(
        Position,
        "position",
        r"^[A-Za-z0-9._-]{1,32}:[0-9]{1,16}$".to_owned()
    );
    crate::schema::custom!(Since, {
        "title": "since",
        "anyOf": [
            { "type": "string", "pattern": "^(0|[A-Za-z0-9._-]{1,32}:[0-9]{1,16})$" },
            { "const": 0 }
        ]
    });
    crate::schema::custom!(Offset, {
        "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_stay_within_what_javascript_holds() {
        assert_eq!(Offset::MAX.get(), 9_007_199_254_740_991);
        assert!(Offset::new(Offset::MAX.get() + 1).is_err());
        assert_eq!(Offset::MAX.next(), Offset::MAX);
        assert_eq!(Offset::ZERO.prev(), Offset::ZERO);
        assert_eq!(Offset::ZERO.next(), Offset::FIRST);
        assert!(serde_json::from_str::<Offset>("9007199254740992").is_err());
        assert!(serde_json::from_str::<Offset>("-1").is_err());
    }

    #[test]
    fn a_position_has_one_spelling() {
        for text in [
            "", ":", "e:", ":1", "e1", "e:+1", "e:1.0", "e:-1", "a b:1", "a:b:1",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
        assert!("e:99999999999999999999999".parse::<Position>().is_err());
        let position: Position = "e.1_-:7".parse().unwrap();
        assert_eq!(position.to_string(), "e.1_-:7");
    }

    #[test]
    fn since_takes_zero_as_text_and_number() {
        for json in ["0", "\"0\""] {
            assert_eq!(
                serde_json::from_str::<Since>(json).unwrap(),
                Since::Start,
                "{json}"
            );
        }
        for json in ["1", "-1", "0.5", "\"1\"", "null", "{}"] {
            assert!(serde_json::from_str::<Since>(json).is_err(), "{json}");
        }
    }
}
