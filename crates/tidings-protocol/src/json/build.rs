//! A builder for JSON objects, which keeps the fields in the order of the calls.

use serde::Serialize;

use super::Data;

/// Writes the text of a JSON object. A value that JSON cannot express is left out.
pub(crate) struct Fields(String);

impl Fields {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    /// Adds a field. `name` must not need escapes.
    pub(crate) fn put(mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Self {
        if let Ok(text) = serde_json::to_string(value) {
            if self.0.len() > 1 {
                self.0.push(',');
            }
            self.0.push('"');
            self.0.push_str(name);
            self.0.push_str("\":");
            self.0.push_str(&text);
        }
        self
    }

    /// Adds a field, unless the value is `None`.
    pub(crate) fn maybe(self, name: &'static str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.put(name, &value),
            None => self,
        }
    }

    pub(crate) fn data(mut self) -> Data {
        self.0.push('}');
        Data::assembled(self.0)
    }
}
