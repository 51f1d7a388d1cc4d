//! The cost of checking a value against a JSON Schema.
//!
//! A short schema can ask for very much work: 30 definitions of which each refers twice to the
//! next one stand for a billion checks. A validator does them all, and nothing can stop it. So the
//! steps are counted before, and a check with too many steps is refused.

use std::collections::HashMap;

use serde_json::Value;

/// The most steps that a check may take. A form with 100 fields takes a few hundred.
pub(crate) const MAX_STEPS: usize = 200_000;

/// The number of a text's bytes that count as a step.
const BYTES_A_STEP: usize = 64;

/// Keywords with one schema for the value itself.
const IN_PLACE: [&str; 4] = ["not", "if", "then", "else"];

/// Keywords with a list of schemas for the value itself.
const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Keywords with schemas by name for the value itself.
const IN_PLACE_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];

/// Keywords that refer to a schema for the value itself.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Keywords with a schema for each item or field.
const FOR_EACH: [&str; 6] = [
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
];

/// Keywords whose check evaluates the whole schema again for each item or field.
const UNEVALUATED: [&str; 2] = ["unevaluatedItems", "unevaluatedProperties"];

/// The reason why a schema is refused before it is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StepsError {
    /// The check would take too long. Use a simpler schema.
    #[error("the schema takes more than {MAX_STEPS} steps to check this value")]
    TooMany,
    /// The schema refers to another document. Copy the definition into the schema.
    #[error("the schema refers to {0}, and only references that begin with `#` can be followed")]
    Elsewhere(String),
}

/// A schema with the places that its references may name.
struct Document<'a> {
    /// The schema, and all objects in it with an id of their own. Pointers start at one of them.
    resources: Vec<&'a Value>,
    anchors: HashMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Document<'a> {
    fn new(root: &'a Value) -> Self {
        let mut document = Self {
            resources: vec![root],
            anchors: HashMap::new(),
        };
        let mut all = vec![root];
        while let Some(value) = all.pop() {
            match value {
                Value::Array(items) => all.extend(items),
                Value::Object(fields) => {
                    all.extend(fields.values());
                    for name in ["$anchor", "$dynamicAnchor", "$id", "id"] {
                        let Some(text) = fields.get(name).and_then(Value::as_str) else {
                            continue;
                        };
                        let named = document.anchors.entry(text.trim_start_matches('#'));
                        named.or_default().push(value);
                        if name.ends_with("id") {
                            document.resources.push(value);
                        }
                    }
                }
                _ => {}
            }
        }
        document
    }

    /// Returns all schemas that a reference may name. More than one counts too much, and never too
    /// little.
    fn named(&self, reference: &str) -> Result<Vec<&'a Value>, StepsError> {
        let Some(fragment) = reference.strip_prefix('#') else {
            let shown = reference.chars().take(100).collect();
            return Err(StepsError::Elsewhere(shown));
        };
        let fragment = decoded(fragment);
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return Ok(self.anchors.get(&*fragment).cloned().unwrap_or_default());
        }
        let resources = self.resources.iter();
        Ok(resources
            .filter_map(|resource| resource.pointer(&fragment))
            .collect())
    }
}

/// Decodes `%41` and the like.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The checks that are still to be counted, and the steps that are left.
struct Count<'a> {
    checks: Vec<(&'a Value, &'a Value)>,
    left: usize,
}

impl<'a> Count<'a> {
    fn take(&mut self, steps: usize) -> Result<(), StepsError> {
        self.left = self.left.checked_sub(steps).ok_or(StepsError::TooMany)?;
        Ok(())
    }

    /// Adds the check of a value against a schema.
    fn add(&mut self, schema: &'a Value, value: &'a Value) -> Result<(), StepsError> {
        self.take(1)?;
        self.checks.push((schema, value));
        Ok(())
    }
}

/// Returns the number of a value's items or fields.
fn length(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    }
}

fn members(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    }
}

/// Counts the steps of a check, and refuses it if there are more than [`MAX_STEPS`]. The count
/// takes no longer than that itself.
pub(crate) fn check_steps(schema: &Value, value: &Value) -> Result<(), StepsError> {
    let document = Document::new(schema);
    let mut count = Count {
        checks: vec![(schema, value)],
        left: MAX_STEPS,
    };
    while let Some((schema, value)) = count.checks.pop() {
        let Value::Object(keywords) = schema else {
            continue;
        };
        let bytes = value.as_str().map_or(0, str::len);
        let own: usize = keywords.values().map(|keyword| 1 + length(keyword)).sum();
        count.take(own + length(value) + bytes / BYTES_A_STEP)?;
        let again = UNEVALUATED.iter().any(|name| keywords.contains_key(*name));
        for _ in 0..=if again { length(value) } else { 0 } {
            for name in IN_PLACE {
                if let Some(schema) = keywords.get(name) {
                    count.add(schema, value)?;
                }
            }
            let lists = IN_PLACE_LISTS.iter().chain(&IN_PLACE_MAPS);
            for schema in lists
                .filter_map(|name| keywords.get(*name))
                .flat_map(members)
            {
                count.add(schema, value)?;
            }
            for name in REFERENCES {
                let Some(reference) = keywords.get(name).and_then(Value::as_str) else {
                    continue;
                };
                count.take(document.resources.len() + reference.len() / BYTES_A_STEP)?;
                for schema in document.named(reference)? {
                    count.add(schema, value)?;
                }
            }
        }
        for name in FOR_EACH {
            // The items of a list of schemas are counted below.
            if let Some(schema) = keywords.get(name).filter(|schema| !schema.is_array()) {
                for member in members(value) {
                    count.add(schema, member)?;
                }
            }
        }
        for name in ["prefixItems", "items"] {
            let (Some(Value::Array(schemas)), Value::Array(items)) = (keywords.get(name), value)
            else {
                continue;
            };
            for (schema, item) in schemas.iter().zip(items) {
                count.add(schema, item)?;
            }
        }
        let Value::Object(fields) = value else {
            continue;
        };
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            for (name, schema) in properties {
                if let Some(field) = fields.get(name) {
                    count.add(schema, field)?;
                }
            }
        }
        if let Some(Value::Object(patterns)) = keywords.get("patternProperties") {
            for schema in patterns.values() {
                for field in fields.values() {
                    count.add(schema, field)?;
                }
            }
        }
        if let Some(schema) = keywords.get("propertyNames") {
            for name in fields.keys() {
                count.take(name.len() / BYTES_A_STEP)?;
                count.add(schema, &Value::Null)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_usual_schema_takes_few_steps() {
        let field = json!({ "type": "string", "minLength": 1, "pattern": "^[a-z]+$" });
        let names = (0..100).map(|n| format!("field-{n}"));
        let properties: serde_json::Map<_, _> = names.map(|name| (name, field.clone())).collect();
        let required: Vec<_> = properties.keys().cloned().collect();
        let rows = json!({
            "$defs": { "row": { "type": "object", "properties": properties,
                "required": required, "additionalProperties": false } },
            "type": "array", "items": { "$ref": "#/$defs/row" },
        });
        let row: serde_json::Map<_, _> = required
            .iter()
            .map(|name| (name.clone(), json!("text")))
            .collect();
        assert_eq!(check_steps(&rows, &json!(vec![row; 100])), Ok(()));
        let tree = json!({ "properties": { "children": { "items": { "$ref": "#" } } } });
        let value = json!({ "children": [{ "children": [{}, {}] }, {}] });
        assert_eq!(check_steps(&tree, &value), Ok(()));
        assert_eq!(check_steps(&json!(true), &json!(1)), Ok(()));
    }

    /// Thirty definitions of which each refers twice to the next one.
    fn doubling(name: &str, reference: impl Fn(usize) -> Value) -> Value {
        let definitions: serde_json::Map<_, _> = (0..30)
            .map(|n| {
                (
                    format!("d{n}"),
                    json!({ name: [reference(n), reference(n)] }),
                )
            })
            .collect();
        json!({ "$ref": "#/$defs/d0", "$defs": definitions })
    }

    #[test]
    fn work_that_doubles_again_and_again_is_refused() {
        let pointer = |n| json!({ "$ref": format!("#/$defs/d{}", n + 1) });
        let encoded = |n| json!({ "$ref": format!("#/%24defs/%64{}", n + 1) });
        for name in ["allOf", "anyOf", "oneOf"] {
            for schema in [doubling(name, pointer), doubling(name, encoded)] {
                assert_eq!(check_steps(&schema, &json!(1)), Err(StepsError::TooMany));
            }
        }
        let circle = json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] });
        assert_eq!(check_steps(&circle, &json!(1)), Err(StepsError::TooMany));
        let anchored = json!({ "$ref": "#a", "$defs": {
            "a": { "$anchor": "a", "allOf": [{ "$dynamicRef": "#b" }] },
            "b": { "$dynamicAnchor": "b", "if": { "$ref": "#a" }, "then": { "$ref": "#a" } },
        } });
        assert_eq!(check_steps(&anchored, &json!(1)), Err(StepsError::TooMany));
        // Each level of the value doubles the work.
        let items =
            json!({ "allOf": [{ "items": { "$ref": "#" } }, { "items": { "$ref": "#" } }] });
        assert_eq!(check_steps(&items, &json!([[[[1]]]])), Ok(()));
        let deep = (0..40).fold(json!(1), |value, _| json!([value]));
        assert_eq!(check_steps(&items, &deep), Err(StepsError::TooMany));
        // Each of these levels checks all fields for each field.
        let unevaluated = (0..9).fold(
            json!({}),
            |inner, _| json!({ "allOf": [inner], "unevaluatedProperties": false }),
        );
        let fields: serde_json::Map<_, _> = (0..20).map(|n| (n.to_string(), json!(1))).collect();
        let refused = check_steps(&unevaluated, &Value::Object(fields));
        assert_eq!(refused, Err(StepsError::TooMany));
    }

    #[test]
    fn a_reference_to_another_document_is_refused() {
        for reference in ["https://example.org/a", "a.json#/b", ""] {
            let schema = json!({ "$ref": reference });
            let refused = check_steps(&schema, &json!(1)).unwrap_err();
            assert_eq!(refused, StepsError::Elsewhere(reference.to_owned()));
        }
    }

    #[test]
    fn any_text_is_decoded() {
        for (text, expected) in [("%41%4", "A%4"), ("%é%", "%é%"), ("%ff", "\u{fffd}")] {
            assert_eq!(decoded(text), expected);
        }
    }
}
