//! Batches: so many items, in an array or one a line.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tidings_protocol::ErrorCode;

use super::events::parse_json;
use crate::problem::Problem;

/// Items of one batch at most. Each one is answered, so a body of two-byte
/// items would otherwise make an answer a hundred times its size.
pub(crate) const MAX_ITEMS: usize = 1_000;

/// Bytes of the text that says what is wrong with one item. With it the answer
/// to the largest batch has less than 1 MiB.
const MAX_DETAIL: usize = 600;

fn too_many() -> Problem {
    Problem::new(
        ErrorCode::TooLarge,
        format!("a batch has at most {MAX_ITEMS} events; send the rest in another request"),
    )
}

/// Returns the items of a JSON array, not parsed yet.
///
/// # Errors
/// The body is no array, or has more than [`MAX_ITEMS`]. Nothing beyond those is read.
pub(super) fn array(bytes: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let Items(items) = parse_json(bytes, ErrorCode::InvalidMessage)?;
    items.ok_or_else(too_many)
}

/// Returns the lines that are not blank.
///
/// # Errors
/// There are more than [`MAX_ITEMS`].
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

/// Returns the answer to one item: the problem, with a text of bounded length.
pub(super) fn answer(problem: Problem) -> Problem {
    problem.shortened(MAX_DETAIL)
}

/// An array's items; none if there are too many.
struct Items<'a>(Option<Vec<&'a RawValue>>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;

        impl<'de> Visitor<'de> for Bounded {
            type Value = Option<Vec<&'de RawValue>>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < MAX_ITEMS {
                    match seq.next_element()? {
                        Some(item) => items.push(item),
                        None => return Ok(Some(items)),
                    }
                }
                if seq.next_element::<&RawValue>()?.is_none() {
                    return Ok(Some(items));
                }
                // The rest is only skipped.
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(None)
            }
        }

        deserializer.deserialize_seq(Bounded).map(Self)
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
        for broken in ["[", "[1,", "{}", "[1]x"] {
            let refused = array(broken.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), Some(ErrorCode::InvalidMessage), "{broken}");
        }
    }
}
