//! Data from the command line: a JSON object, or `key=value` words.

use serde_json::{Map, Value};
use tidings_client::protocol::Data;

/// Reads one JSON object, or any number of `key=value`, where a value that is
/// JSON is taken as JSON and any other as text.
pub(super) fn parse(words: &[String]) -> Result<Data, String> {
    if let [word] = words
        && word.trim_start().starts_with('{')
    {
        return Data::parse(word).map_err(|error| error.to_string());
    }
    let mut map = Map::new();
    for word in words {
        let Some((key, value)) = word.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(format!(
                "expected a JSON object or key=value, found {word:?}"
            ));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        map.insert(key.to_owned(), value);
    }
    Data::from_value(Value::Object(map)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[&str]) -> Result<String, String> {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        parse(&words).map(|data| data.as_str().to_owned())
    }

    #[test]
    fn json_and_words_are_taken() {
        assert_eq!(text(&[]).unwrap(), "{}");
        assert_eq!(text(&["{\"a\": 1}"]).unwrap(), "{\"a\": 1}");
        let words = text(&["progress=40", "message=linking it", "ok=true", "a=b=c"]).unwrap();
        // In which order keys stand depends on what else is built along.
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&words).unwrap(),
            serde_json::json!({"progress": 40, "message": "linking it", "ok": true, "a": "b=c"})
        );
    }

    #[test]
    fn what_is_neither_is_refused_by_name() {
        for words in [&["linking"][..], &["=1"], &["a=1", "{}"]] {
            let last = words.last().unwrap();
            let error = text(words).unwrap_err();
            assert!(error.contains(&format!("{last:?}")), "{error}");
        }
        assert!(text(&["{\"a\":"]).is_err());
    }
}
