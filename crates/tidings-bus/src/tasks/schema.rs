//! The checker of JSON Schemas, which the program provides.

use std::sync::Arc;

use tidings_protocol::Json;

/// Checks values against JSON Schemas.
///
/// A bus without a checker refuses questions with a schema, because it could check no answer.
/// `tidings-node` has a checker. A program that embeds only the bus therefore needs no schema
/// library, and asks with `choices`. A program that checks the answers itself sets a checker that
/// accepts everything.
pub trait SchemaCheck: Send + Sync {
    /// Checks that a question with this schema and these choices can be answered. A question
    /// without choices has an empty list.
    ///
    /// # Errors
    /// Fails if the value is no JSON Schema, if it needs documents from elsewhere, or if a choice
    /// does not fit it. The error contains the reason.
    fn check_schema(&self, schema: &Json, choices: &[Json]) -> Result<(), Unfit>;

    /// Checks that a value fits a schema.
    ///
    /// # Errors
    /// Fails if the value does not fit. The error names the first problems.
    fn check(&self, schema: &Json, value: &Json) -> Result<(), Unfit>;
}

/// The reason why a value does not fit a schema, or a schema cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(Arc<str>);

impl Unfit {
    /// Makes a reason from a text for people.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self(reason.into())
    }
}
