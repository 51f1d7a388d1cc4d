//! The cost of checking a value against a JSON Schema.
//!
//! A short schema can ask for very much work: 30 definitions of which each refers twice to the
//! next one stand for a billion checks. A validator does them all, and nothing can stop it. So the
//! steps are counted before, and a check with too many steps is refused.

use serde_json::Value;

use crate::schema_references::{
    Document, FOR_EACH, IN_PLACE, IN_PLACE_LISTS, IN_PLACE_MAPS, REFERENCES,
};

/// The most steps that a check may take. A form with 100 fields takes a few hundred.
pub(crate) const MAX_STEPS: usize = 200_000;

/// The number of a text's bytes that count as a step.
const BYTES_A_STEP: usize = 64;

/// Keywords whose check evaluates the whole schema again for each item or field.
const UNEVALUATED: [&str; 2] = ["unevaluatedItems", "unevaluatedProperties"];

/// The check would take too long. Use a simpler schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the schema takes more than {MAX_STEPS} steps to check a value: use a simpler schema")]
pub(crate) struct TooManySteps;

/// The checks that are still to be counted, and the steps that are left.
struct Count<'a> {
    checks: Vec<(&'a Value, &'a Value)>,
    left: usize,
}

impl<'a> Count<'a> {
    fn take(&mut self, steps: usize) -> Result<(), TooManySteps> {
        self.left = self.left.checked_sub(steps).ok_or(TooManySteps)?;
        Ok(())
    }

    /// Adds the check of a value against a schema.
    fn add(&mut self, schema: &'a Value, value: &'a Value) -> Result<(), TooManySteps> {
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

/// Counts the steps of the checks of all values together. Refuses them if there are more than
/// [`MAX_STEPS`]. The count takes no longer than that itself.
pub(crate) fn check_steps(document: &Document<'_>, values: &[Value]) -> Result<(), TooManySteps> {
    let mut count = Count {
        checks: Vec::new(),
        left: MAX_STEPS,
    };
    for value in values {
        count.add(document.root(), value)?;
    }
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
                count.take(document.resources() + reference.len() / BYTES_A_STEP)?;
                for schema in document.named(reference) {
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

    fn check_one(schema: &Value, value: &Value) -> Result<(), TooManySteps> {
        check_steps(&Document::new(schema), std::slice::from_ref(value))
    }

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
        assert_eq!(check_one(&rows, &json!(vec![row; 100])), Ok(()));
        let tree = json!({ "properties": { "children": { "items": { "$ref": "#" } } } });
        let value = json!({ "children": [{ "children": [{}, {}] }, {}] });
        assert_eq!(check_one(&tree, &value), Ok(()));
        assert_eq!(check_one(&json!(true), &json!(1)), Ok(()));
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
                assert_eq!(check_one(&schema, &json!(1)), Err(TooManySteps));
            }
        }
        let circle = json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] });
        assert_eq!(check_one(&circle, &json!(1)), Err(TooManySteps));
        let anchored = json!({ "$ref": "#a", "$defs": {
            "a": { "$anchor": "a", "allOf": [{ "$dynamicRef": "#b" }] },
            "b": { "$dynamicAnchor": "b", "if": { "$ref": "#a" }, "then": { "$ref": "#a" } },
        } });
        assert_eq!(check_one(&anchored, &json!(1)), Err(TooManySteps));
        // Each level of the value doubles the work.
        let items =
            json!({ "allOf": [{ "items": { "$ref": "#" } }, { "items": { "$ref": "#" } }] });
        assert_eq!(check_one(&items, &json!([[[[1]]]])), Ok(()));
        let deep = (0..40).fold(json!(1), |value, _| json!([value]));
        assert_eq!(check_one(&items, &deep), Err(TooManySteps));
        // Each of these levels checks all fields for each field.
        let unevaluated = (0..9).fold(
            json!({}),
            |inner, _| json!({ "allOf": [inner], "unevaluatedProperties": false }),
        );
        let fields: serde_json::Map<_, _> = (0..20).map(|n| (n.to_string(), json!(1))).collect();
        let refused = check_one(&unevaluated, &Value::Object(fields));
        assert_eq!(refused, Err(TooManySteps));
    }
}
