//! Answers of people, checked against the JSON Schemas of questions.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use tidings_bus::protocol::Json;
use tidings_bus::{SchemaCheck, Unfit};

/// Characters of an explanation: a schema's error may quote all of the value.
const MAX_REASON: usize = 300;

/// Bytes that one pattern of a schema may take when it is compiled.
const PATTERN_BYTES: usize = 256 * 1024;

/// Checks values against JSON Schemas, of draft 2020-12 unless `$schema` names an
/// earlier one.
///
/// A schema stands alone: references to other documents are refused, and nothing is
/// fetched. Patterns are those of the crate `regex`, which take linear time.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonSchemas;

fn reason(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn compile(schema: &Json) -> Result<Validator, Unfit> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .build(&schema.to_value())
        .map_err(|error| Unfit::new(reason(&error)))
}

impl SchemaCheck for JsonSchemas {
    fn check_schema(&self, schema: &Json) -> Result<(), Unfit> {
        compile(schema).map(drop)
    }

    fn check(&self, schema: &Json, value: &Json) -> Result<(), Unfit> {
        let validator = compile(schema)?;
        let value: Value = value.to_value();
        validator.validate(&value).map_err(|error| {
            let place = error.instance_path().to_string();
            let text = reason(&error);
            Unfit::new(match place.as_str() {
                "" => text,
                place => format!("at {place}: {text}"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn a_value_fits_or_is_told_why_not() {
        let schema = json(
            r#"{"type":"object","required":["count"],"properties":{"count":{"type":"integer","maximum":5}}}"#,
        );
        JsonSchemas.check_schema(&schema).unwrap();
        JsonSchemas.check(&schema, &json(r#"{"count":3}"#)).unwrap();
        let error = JsonSchemas.check(&schema, &json(r#"{"count":9}"#));
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("at /count: "), "{error}");
        let error = JsonSchemas.check(&schema, &json("7")).unwrap_err();
        assert!(error.to_string().contains("object"), "{error}");
    }

    #[test]
    fn a_schema_that_cannot_be_used_is_refused() {
        for schema in [
            r#"{"type":"strin"}"#,
            r#"{"$ref":"https://example.org/schema.json"}"#,
            r#"{"$ref":"file:///etc/passwd"}"#,
            r#"{"pattern":"("}"#,
            r#"{"pattern":"(a{1000}){1000}"}"#,
            r#"[1]"#,
        ] {
            let refused = JsonSchemas.check_schema(&json(schema));
            assert!(refused.is_err(), "{schema}");
        }
    }

    #[test]
    fn an_explanation_is_short_however_long_the_value_is() {
        let value = json(&format!("\"{}\"", "ä".repeat(10_000)));
        let error = JsonSchemas.check(&json(r#"{"maxLength":3}"#), &value);
        assert!(error.unwrap_err().to_string().chars().count() <= MAX_REASON + 1);
    }

    #[test]
    fn a_pattern_takes_linear_time_or_is_refused() {
        // Backtracking would not end on this.
        let schema = json(r#"{"pattern":"^(a+)+$"}"#);
        let value = json(&format!("\"{}b\"", "a".repeat(1_000)));
        JsonSchemas.check_schema(&schema).unwrap();
        JsonSchemas.check(&schema, &value).unwrap_err();
    }
}
