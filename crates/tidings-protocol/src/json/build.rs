//! Objects put together field by field, in the order given.

use serde::Serialize;

use super::Data;

/// Writes an object's text. What cannot be written as JSON is left out.
pub(crate) struct Fields(String);

impl Fields {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    /// Adds a field under a name that needs no escapes.
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

    /// Adds a field if there is something to add.
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
