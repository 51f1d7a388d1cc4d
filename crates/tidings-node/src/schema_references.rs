//! The references within a JSON Schema, and the places that they name.
//!
//! A checker that meets a reference only when a value reaches it would accept a question and then
//! refuse its answers. So all references of a schema are followed before the question is asked.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// Keywords with one schema for the value itself.
pub(crate) const IN_PLACE: [&str; 4] = ["not", "if", "then", "else"];

/// Keywords with a list of schemas for the value itself.
pub(crate) const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Keywords with schemas by name for the value itself.
pub(crate) const IN_PLACE_MAPS: [&str; 2] = ["dependentSchemas", "dependencies"];

/// Keywords that refer to a schema for the value itself.
pub(crate) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Keywords with a schema for each item or field.
pub(crate) const FOR_EACH: [&str; 6] = [
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "additionalProperties",
    "unevaluatedProperties",
];

/// Further keywords with one schema.
const ONE: [&str; 2] = ["propertyNames", "contentSchema"];

/// Keywords with a list of schemas for items. In older drafts, `items` is one of them.
const ITEM_LISTS: [&str; 2] = ["prefixItems", "items"];

/// Further keywords with schemas by name. The names are not keywords.
const MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

/// The most characters of a reference that an error shows.
const SHOWN: usize = 100;

/// The reason why a schema with this reference is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// The schema refers to another document, and nothing is fetched.
    #[error(
        "the schema refers to `{0}`: copy that definition into the schema's `$defs`, and refer to \
         it there, as `#/$defs/NAME`"
    )]
    Elsewhere(String),
    /// The reference names a place that the schema does not have.
    #[error(
        "the schema refers to `{0}`, which it does not have: add the definition, or correct the \
         reference"
    )]
    Nowhere(String),
}

/// A schema with the places that its references may name.
pub(crate) struct Document<'a> {
    root: &'a Value,
    /// The schema, and all objects in it with an id of their own. Pointers start at one of them.
    resources: Vec<&'a Value>,
    anchors: HashMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(root: &'a Value) -> Self {
        let mut document = Self {
            root,
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

    /// Returns the whole schema.
    pub(crate) fn root(&self) -> &'a Value {
        self.root
    }

    /// Returns the number of places at which a pointer may start.
    pub(crate) fn resources(&self) -> usize {
        self.resources.len()
    }

    /// Returns all schemas that a reference may name. More than one counts too much, and never too
    /// little. A reference to another document names none.
    pub(crate) fn named(&self, reference: &str) -> Vec<&'a Value> {
        let Some(fragment) = reference.strip_prefix('#') else {
            return Vec::new();
        };
        let fragment = decoded(fragment);
        if !fragment.is_empty() && !fragment.starts_with('/') {
            return self.anchors.get(&*fragment).cloned().unwrap_or_default();
        }
        let resources = self.resources.iter();
        resources
            .filter_map(|resource| resource.pointer(&fragment))
            .collect()
    }

    /// Checks that all references of the schema name a place in it.
    pub(crate) fn check_references(&self) -> Result<(), ReferenceError> {
        let mut seen = HashSet::new();
        let mut schemas = vec![self.root];
        while let Some(schema) = schemas.pop() {
            let Value::Object(keywords) = schema else {
                continue;
            };
            if !seen.insert(std::ptr::from_ref(schema)) {
                continue;
            }
            for name in REFERENCES {
                let Some(reference) = keywords.get(name).and_then(Value::as_str) else {
                    continue;
                };
                let shown = || reference.chars().take(SHOWN).collect();
                if !reference.starts_with('#') {
                    return Err(ReferenceError::Elsewhere(shown()));
                }
                let named = self.named(reference);
                if named.is_empty() {
                    return Err(ReferenceError::Nowhere(shown()));
                }
                // A reference may also name a place that no keyword knows.
                schemas.extend(named);
            }
            let of = |name: &&str| keywords.get(*name);
            let one = IN_PLACE.iter().chain(&FOR_EACH).chain(&ONE);
            schemas.extend(one.filter_map(of));
            let lists = IN_PLACE_LISTS.iter().chain(&ITEM_LISTS).filter_map(of);
            schemas.extend(lists.filter_map(Value::as_array).flatten());
            let maps = IN_PLACE_MAPS.iter().chain(&MAPS).filter_map(of);
            let maps = maps.filter_map(Value::as_object);
            schemas.extend(maps.flat_map(|map| map.values()));
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Puts a schema at every place where a schema may stand.
    fn placed(inner: &Value) -> Vec<Value> {
        let mut all = vec![inner.clone()];
        let one = IN_PLACE.iter().chain(&FOR_EACH).chain(&ONE);
        all.extend(one.map(|name| json!({ *name: inner })));
        let lists = IN_PLACE_LISTS.iter().chain(&ITEM_LISTS);
        all.extend(lists.map(|name| json!({ *name: [true, inner] })));
        let maps = IN_PLACE_MAPS.iter().chain(&MAPS);
        all.extend(maps.map(|name| json!({ *name: { "a": inner } })));
        all
    }

    #[test]
    fn a_reference_to_another_document_is_refused_at_every_place() {
        for reference in ["https://example.org/a", "a.json#/b", ""] {
            for name in REFERENCES {
                for schema in placed(&json!({ name: reference })) {
                    let nested = json!({ "properties": { "field": schema } });
                    let refused = Document::new(&nested).check_references();
                    let expected = ReferenceError::Elsewhere(reference.to_owned());
                    assert_eq!(refused, Err(expected), "{nested}");
                }
            }
        }
    }

    #[test]
    fn a_place_that_only_a_reference_names_is_checked() {
        let schema = json!({ "$ref": "#/x/y", "x": { "y": { "$ref": "a.json" } } });
        let refused = Document::new(&schema).check_references();
        assert_eq!(refused, Err(ReferenceError::Elsewhere("a.json".to_owned())));
        let unused = json!({ "x": { "y": { "$ref": "a.json" } } });
        assert_eq!(Document::new(&unused).check_references(), Ok(()));
    }

    #[test]
    fn a_reference_to_a_missing_place_is_refused_at_every_place() {
        for reference in ["#/$defs/b", "#b", "#/", "#/$defs/a/type/0"] {
            for schema in placed(&json!({ "$ref": reference })) {
                let defined = json!({ "items": schema, "$defs": { "a": { "type": "string" } } });
                let refused = Document::new(&defined).check_references();
                let expected = ReferenceError::Nowhere(reference.to_owned());
                assert_eq!(refused, Err(expected), "{defined}");
            }
        }
    }

    #[test]
    fn a_reference_to_a_place_in_the_schema_is_accepted() {
        let references = ["#", "#/$defs/a%20b", "#anchor", "#/properties/$ref"];
        for reference in references {
            for schema in placed(&json!({ "$ref": reference })) {
                let defined = json!({
                    "items": schema,
                    "properties": { "$ref": { "type": "string" } },
                    "$defs": { "a b": { "$anchor": "anchor" } },
                });
                let checked = Document::new(&defined).check_references();
                assert_eq!(checked, Ok(()), "{defined}");
            }
        }
    }

    #[test]
    fn a_value_or_a_name_is_no_reference() {
        let value = json!({ "$ref": "https://example.org/a" });
        for schema in [
            json!({ "const": value, "enum": [value], "default": value, "examples": [value] }),
            json!({ "properties": { "$ref": { "const": value } }, "required": ["$ref"] }),
            json!({ "dependentRequired": { "$ref": ["a"] }, "dependencies": { "$ref": ["a"] } }),
        ] {
            assert_eq!(
                Document::new(&schema).check_references(),
                Ok(()),
                "{schema}"
            );
        }
    }

    #[test]
    fn any_text_is_decoded() {
        for (text, expected) in [("%41%4", "A%4"), ("%é%", "%é%"), ("%ff", "\u{fffd}")] {
            assert_eq!(decoded(text), expected);
        }
    }
}
