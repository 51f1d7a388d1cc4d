//! Data from the command line: a JSON object, or `key=text` and `key:=json` words.

use serde_json::value::RawValue;
use tidings_client::protocol::{Data, EventType};

/// The words that are the data of an event or of a command, not yet put together.
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
    /// From `key=text`.
    Text(&'a str),
    /// From `key:=json`, not yet checked.
    Json(&'a str),
}

impl<'a> Words<'a> {
    /// Reads one JSON object, or any number of `key=text` and `key:=json`.
    pub(super) fn parse(words: &'a [String]) -> Result<Self, String> {
        if let [word] = words
            && word.trim_start().starts_with('{')
        {
            let data = Data::parse(word).map_err(|error| error.to_string())?;
            return Ok(Self::Object(data));
        }
        let mut fields = Vec::with_capacity(words.len());
        for word in words {
            let Some((key, value)) = field(word) else {
                return Err(format!(
                    "expected a JSON object, key=text or key:=json, found {word:?}"
                ));
            };
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(format!("{key:?} is given twice"));
            }
            fields.push((key, value));
        }
        Ok(Self::Fields(fields))
    }

    /// Returns whether there is this key.
    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            Self::Object(data) => data.get().contains_key(key),
            Self::Fields(fields) => fields.iter().any(|(known, _)| *known == key),
        }
    }

    /// Puts the object together. The text of these keys is a number.
    pub(super) fn data(self, numbers: &[&str]) -> Result<Data, String> {
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
                    let is_number = serde_json::from_str::<serde_json::Number>(number).is_ok();
                    if !is_number {
                        return Err(format!("{key} is a number, not {number:?}"));
                    }
                    text.push_str(number);
                }
                Value::Text(value) => text.push_str(&quoted(value)),
                Value::Json(json) => {
                    serde_json::from_str::<&RawValue>(json)
                        .map_err(|error| format!("{key}:={json} is not JSON: {error}"))?;
                    text.push_str(json);
                }
            }
        }
        text.push('}');
        Data::parse(&text).map_err(|error| error.to_string())
    }
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

/// Returns the keys of a standard event that are numbers by the protocol. A text there
/// would only be refused.
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

    fn text(words: &[&str], numbers: &[&str]) -> Result<String, String> {
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
            // No digit is lost on the way.
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
            let error = text(words, &["progress"]).unwrap_err();
            assert!(error.contains(named), "{words:?} {error}");
        }
        assert!(text(&["{\"a\":"], &[]).is_err());
    }
}
