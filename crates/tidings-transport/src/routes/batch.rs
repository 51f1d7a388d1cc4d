//! Batches of events, as an array or one per line.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidings_protocol::ErrorCode;

use crate::problem::Problem;

/// The most items in one batch. Each item gets an answer. Without this limit, a body of two-byte
/// items would get an answer a hundred times its size.
pub(crate) const MAX_ITEMS: usize = 1_000;

/// The most bytes of the text that describes the error of one item. With this limit, the answer to
/// the largest batch has less than 1 MiB.
const MAX_DETAIL: usize = 600;

fn too_many() -> Problem {
    Problem::new(
        ErrorCode::TooLarge,
        format!("a batch may have at most {MAX_ITEMS} events; send the rest in another request"),
    )
}

/// Returns the items of a JSON array, unparsed.
///
/// # Errors
/// Returns an error if the body is not an array, or has more than [`MAX_ITEMS`] items. Items beyond
/// the limit are not read.
pub(super) fn array(bytes: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let mut is_too_long = false;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let seed = Items {
        is_too_long: &mut is_too_long,
    };
    let items = seed.deserialize(&mut json);
    let items = items.and_then(|items| json.end().map(|()| items));
    items.map_err(|error| match is_too_long {
        true => too_many(),
        false => Problem::new(ErrorCode::InvalidMessage, format!("the body: {error}")),
    })
}

/// Returns the lines that are not blank.
///
/// # Errors
/// Returns an error if there are more than [`MAX_ITEMS`] lines.
pub(super) fn lines(bytes: &[u8]) -> Result<Vec<&[u8]>, Problem> {
    let lines = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.trim_ascii().is_empty());
    let lines: Vec<_> = lines.take(MAX_ITEMS + 1).collect();
    if lines.len() > MAX_ITEMS {
        return Err(too_many());
    }
    Ok(lines)
}

/// Returns the answer to one item: the problem, with a text of limited length.
pub(super) fn answer(problem: Problem) -> Problem {
    problem.shortened(MAX_DETAIL)
}

/// Reads an array's items, and stops where there are too many.
struct Items<'a> {
    is_too_long: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX_ITEMS {
                *self.is_too_long = true;
                return Err(A::Error::custom("the array is too long"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_so_many_items_and_no_more() {
        for (count, taken) in [
            (0, true),
            (1, true),
            (MAX_ITEMS, true),
            (MAX_ITEMS + 1, false),
        ] {
            let list = format!("[{}]", vec!["{}"; count].join(","));
            assert_eq!(array(list.as_bytes()).is_ok(), taken, "{count}");
            let text = "{}\n\n".repeat(count);
            assert_eq!(lines(text.as_bytes()).is_ok(), taken, "{count} lines");
        }
        let refused = array(format!("[{}0]", "0,".repeat(500_000)).as_bytes()).unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::TooLarge));
        // Nothing beyond that is looked at.
        let refused = array(format!("[{}x", "0,".repeat(MAX_ITEMS + 1)).as_bytes()).unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::TooLarge));
        for broken in ["[", "[1,", "{}", "[1]x"] {
            let refused = array(broken.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), Some(ErrorCode::InvalidMessage), "{broken}");
        }
    }
}
