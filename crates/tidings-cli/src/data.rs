//! Data on the command line: a JSON object, or `key=text` and `key:=json` words.

use serde_json::value::RawValue;
use tidings_client::protocol::{Data, EventType, Json};

use crate::Failure;

/// Returned when words are not the data of an event or a command.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The words do not follow the grammar. The text is the reason.
    Words(String),
    /// The words follow the grammar, but no event can have such a value. The text is the
    /// reason.
    Value(String),
}

impl Wrong {
    /// Returns the failure for this argument.
    pub(super) fn of(self, what: &'static str) -> Failure {
        match self {
            Self::Words(why) => Failure::Argument { what, why },
            Self::Value(why) => Failure::Data { what, why },
        }
    }
}

/// The words that form the data of an event or a command. The object is not built yet.
#[derive(Debug)]
pub(super) enum Words<'a> {
    /// One JSON object.
    Object(Data),
    /// Keys and values, each key once.
    Fields(Vec<(&'a str, Value<'a>)>),
}

/// The value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A text, from `key=text`.
    Text(&'a str),
    /// JSON from `key:=json`, not yet checked.
    Json(&'a str),
}

impl<'a> Words<'a> {
    /// Parses one JSON object, or any number of `key=text` and `key:=json` words.
    pub(super) fn parse(words: &'a [String]) -> Result<Self, Wrong> {
        if let [word] = words
            && word.trim_start().starts_with('{')
        {
            let data = Data::try_from(checked("the object", word)?);
            return data.map(Self::Object).map_err(wrong_value);
        }
        let mut fields = Vec::with_capacity(words.len());
        for word in words {
            let Some((key, value)) = field(word) else {
                return Err(Wrong::Words(format!(
                    "expected a JSON object, key=text or key:=json, found {word:?}"
                )));
            };
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(Wrong::Words(format!("{key:?} is given twice")));
            }
            fields.push((key, value));
        }
        Ok(Self::Fields(fields))
    }

    /// Returns true if the words have this key.
    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            Self::Object(data) => data.get().contains_key(key),
            Self::Fields(fields) => fields.iter().any(|(known, _)| *known == key),
        }
    }

    /// Builds the object. The values of the keys in `numbers` become numbers.
    pub(super) fn data(self, numbers: &[&str]) -> Result<Data, Wrong> {
        let fields = match self {
            Self::Object(data) => return Ok(data),
            Self::Fields(fields) => fields,
        };
        let mut text = String::from("{");
        for (key, value) in fields {
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&quoted(key));
            text.push(':');
            match value {
                Value::Text(number) if numbers.contains(&key) => {
                    let is_number = number.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                        && is_json(number).is_ok();
                    if !is_number {
                        let why = format!("{key} is a number, not {number:?}");
                        return Err(Wrong::Words(why));
                    }
                    text.push_str(checked(key, number)?.as_str());
                }
                Value::Text(value) => text.push_str(&quoted(value)),
                Value::Json(value) => {
                    is_json(value).map_err(|error| {
                        Wrong::Words(format!("{key}:={value} is not JSON: {error}"))
                    })?;
                    text.push_str(checked(key, value)?.as_str());
                }
            }
        }
        text.push('}');
        Data::parse(&text).map_err(wrong_value)
    }
}

fn is_json(text: &str) -> Result<&RawValue, serde_json::Error> {
    serde_json::from_str(text)
}

/// Parses the JSON of a key. JSON may follow the grammar and still have a number that is
/// too large, half of a character, or too many levels.
pub(super) fn checked(key: &str, text: &str) -> Result<Json, Wrong> {
    is_json(text).map_err(|error| Wrong::Words(format!("{key} is not JSON: {error}")))?;
    Json::parse(text).map_err(|error| {
        Wrong::Value(format!(
            "the value of {key} is JSON that no event can have: {error}"
        ))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn wrong_value(error: tidings_client::protocol::DataError) -> Wrong {
    Wrong::Value(error.to_string())
}

fn field(word: &str) -> Option<(&str, Value<'_>)> {
    let (key, value) = word.split_once('=')?;
    let (key, value) = match key.strip_suffix(':') {
        Some(key) => (key, Value::Json(value)),
        None => (key, Value::Text(value)),
    };
    (!key.is_empty()).then_some((key, value))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the keys of a standard event that the protocol defines as numbers. The
/// server would refuse a text there.
pub(super) fn numbers(event_type: &EventType) -> &'static [&'static str] {
    match event_type {
        EventType::TaskStarted => &["total", "weight", "lease_ms"],
        EventType::ProgressUpdate => &["progress", "current", "total"],
        EventType::ToolCallCompleted => &["duration_ms"],
        EventType::InputRequired => &["expires_in_ms"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[&str], numbers: &[&str]) -> Result<String, Wrong> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        let data = Words::parse(&words)?.data(numbers)?;
        Ok(data.as_str().to_owned())
    }

    #[test]
    fn text_stays_text_and_only_json_is_json() {
        for (words, expected) in [
            (&[][..], "{}"),
            (&["{\"a\": 1}"], "{\"a\": 1}"),
            (
                &[
                    "version=1.10",
                    "sha=12345e10",
                    "big=12345678901234567890123",
                ],
                r#"{"version":"1.10","sha":"12345e10","big":"12345678901234567890123"}"#,
            ),
            (
                &["message=404", "ok=true", "none=null", "empty="],
                r#"{"message":"404","ok":"true","none":"null","empty":""}"#,
            ),
            // The number keeps all its digits.
            (
                &[
                    "big:=12345678901234567890123",
                    "list:=[1.10]",
                    "text:=\"a\"",
                ],
                r#"{"big":12345678901234567890123,"list":[1.10],"text":"a"}"#,
            ),
            (
                &["a=b=c", "d=:=e", "q=\"\n"],
                r#"{"a":"b=c","d":":=e","q":"\"\n"}"#,
            ),
            (
                &["progress=40", "total=1e3", "message=40"],
                r#"{"progress":40,"total":1e3,"message":"40"}"#,
            ),
        ] {
            let numbers = numbers(&EventType::ProgressUpdate);
            assert_eq!(text(words, numbers).unwrap(), expected, "{words:?}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_by_name() {
        for (words, named) in [
            (&["linking"][..], "\"linking\""),
            (&["=1"], "\"=1\""),
            (&[":=1"], "\":=1\""),
            (&["a=1", "{}"], "\"{}\""),
            (&["a=1", "a:=2"], "\"a\" is given twice"),
            (&["a:=one"], "a:=one is not JSON"),
            (&["a:="], "a:= is not JSON"),
            (&["a:=1,\"b\":2"], "is not JSON"),
            (&["progress=half"], "progress is a number, not \"half\""),
            (&["progress=1,\"b\":2"], "progress is a number"),
        ] {
            let failure = text(words, &["progress"]).unwrap_err().of("DATA");
            let error = failure.to_string();
            assert!(error.contains(named), "{words:?} {error}");
            assert_eq!(failure.code(), 64, "{words:?} {error}");
        }
        assert!(text(&["{\"a\":"], &[]).is_err());
    }

    #[test]
    fn a_value_that_no_event_can_have_is_named() {
        let deep = format!("deep:={}{}", "[".repeat(200), "]".repeat(200));
        for (word, named) in [
            ("e:=1e400", "value of e "),
            ("progress=1e400", "value of progress "),
            (r#"half:="\ud800""#, "value of half "),
            (&deep, "value of deep "),
            (r#"{"e":-1e400}"#, "value of the object "),
        ] {
            let failure = text(&[word], &["progress"]).unwrap_err().of("DATA");
            let error = failure.to_string();
            assert!(error.contains(named), "{word} {error}");
            assert_eq!(failure.code(), 65, "{word} {error}");
        }
    }
}
