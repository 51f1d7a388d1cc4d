//! Checks people's answers against the JSON Schemas of their questions.

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;
use tidings_bus::protocol::Json;
use tidings_bus::{SchemaCheck, Unfit};

use crate::schema_references::Document;
use crate::schema_steps::check_steps;

/// The largest length of an explanation, in characters. A schema's error may quote the
/// whole value.
const MAX_REASON: usize = 300;

/// The largest size of a compiled pattern, in bytes.
const PATTERN_BYTES: usize = 256 * 1024;

/// Checks values against JSON Schemas of draft 2020-12, or of an earlier draft that
/// `$schema` names.
///
/// A schema must be complete. References to other documents are refused, and nothing is
/// fetched. The crate `regex` runs the patterns in linear time. A check that would take more than
/// 200,000 steps is refused, because a short schema can ask for a billion of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonSchemas;

fn reason(error: &impl std::fmt::Display) -> String {
    short(error.to_string())
}

/// Cuts a text that is too long for an explanation.
fn short(text: String) -> String {
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Explains why a value does not fit, and at which place.
fn explained(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let text = reason(error);
    match place.as_str() {
        "" => text,
        place => format!("at {place}: {text}"),
    }
}

/// Compiles a schema to check these values.
fn compile(schema: &Value, values: &[Value]) -> Result<Validator, Unfit> {
    let document = Document::new(schema);
    document
        .check_references()
        .map_err(|error| Unfit::new(error.to_string()))?;
    check_steps(&document, values).map_err(|error| Unfit::new(error.to_string()))?;
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES);
    jsonschema::options()
        .offline()
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| Unfit::new(reason(&error)))
}

impl SchemaCheck for JsonSchemas {
    fn check_schema(&self, schema: &Json, choices: &[Json]) -> Result<(), Unfit> {
        // Null finds work that no value avoids.
        let mut values = vec![Value::Null];
        values.extend(choices.iter().map(Json::to_value));
        let validator = compile(&schema.to_value(), &values)?;
        for choice in &values[1..] {
            validator.validate(choice).map_err(|error| {
                let (choice, why) = (short(choice.to_string()), explained(&error));
                Unfit::new(format!(
                    "the choice {choice} does not fit the schema: {why}; remove the choice, or \
                     change the schema"
                ))
            })?;
        }
        Ok(())
    }

    fn check(&self, schema: &Json, value: &Json) -> Result<(), Unfit> {
        let values = [value.to_value()];
        let validator = compile(&schema.to_value(), &values)?;
        validator
            .validate(&values[0])
            .map_err(|error| Unfit::new(explained(&error)))
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
        JsonSchemas.check_schema(&schema, &[]).unwrap();
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
            r##"{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}"##,
            r#"{"properties":{"a":{"$ref":"http://json-schema.org/draft-07/schema#"}}}"#,
            r#"{"$id":"https://example.org/a","items":{"$ref":"a#/$defs/b"},"$defs":{"b":true}}"#,
            r##"{"properties":{"a":{"$ref":"#/$defs/b"}}}"##,
            r##"{"$defs":{"a":{"$ref":"#b"}}}"##,
            r#"[1]"#,
        ] {
            let refused = JsonSchemas.check_schema(&json(schema), &[]);
            assert!(refused.is_err(), "{schema}");
        }
    }

    #[test]
    fn the_name_of_a_property_and_a_constant_are_no_references() {
        let schema = json(
            r##"{"properties":{"$ref":{"type":"string"},"a":{"const":{"$ref":"b.json"}},"b":{"$ref":"#/$defs/c"}},"$defs":{"c":{"type":"number"}}}"##,
        );
        JsonSchemas.check_schema(&schema, &[]).unwrap();
        let value = json(r#"{"$ref":"b.json","a":{"$ref":"b.json"},"b":1}"#);
        JsonSchemas.check(&schema, &value).unwrap();
        JsonSchemas
            .check(&schema, &json(r#"{"$ref":1}"#))
            .unwrap_err();
    }

    #[test]
    fn a_choice_that_the_schema_forbids_is_refused() {
        let schema = json(r#"{"type":"integer","maximum":5}"#);
        let choices = ["1", "2.0", "5"].map(json);
        JsonSchemas.check_schema(&schema, &choices).unwrap();
        for choice in &choices {
            JsonSchemas.check(&schema, choice).unwrap();
        }
        let refused = JsonSchemas.check_schema(&schema, &["1", "9"].map(json));
        let text = "the choice 9 does not fit the schema: 9 is greater than the maximum of 5; \
                    remove the choice, or change the schema";
        assert_eq!(refused.unwrap_err().to_string(), text);
        let long = json(&format!("\"{}\"", "ä".repeat(8_000)));
        let refused = JsonSchemas.check_schema(&schema, &[long]).unwrap_err();
        assert!(refused.to_string().chars().count() < 3 * MAX_REASON);
    }

    #[test]
    fn an_explanation_is_short_however_long_the_value_is() {
        let value = json(&format!("\"{}\"", "ä".repeat(10_000)));
        let error = JsonSchemas.check(&json(r#"{"maxLength":3}"#), &value);
        assert!(error.unwrap_err().to_string().chars().count() <= MAX_REASON + 1);
    }

    #[test]
    fn work_that_grows_with_the_depth_of_the_value_is_refused_before_it_begins() {
        let schema = json(r##"{"allOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}]}"##);
        JsonSchemas.check_schema(&schema, &[]).unwrap();
        JsonSchemas.check(&schema, &json("[[[1]]]")).unwrap();
        let value = json(&format!("{}1{}", "[".repeat(60), "]".repeat(60)));
        let refused = JsonSchemas.check(&schema, &value).unwrap_err();
        let text = "the schema takes more than 200000 steps to check a value: use a simpler schema";
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn a_pattern_takes_linear_time_or_is_refused() {
        // With backtracking, this check would not end.
        let schema = json(r#"{"pattern":"^(a+)+$"}"#);
        let value = json(&format!("\"{}b\"", "a".repeat(1_000)));
        JsonSchemas.check_schema(&schema, &[]).unwrap();
        JsonSchemas.check(&schema, &value).unwrap_err();
    }
}
