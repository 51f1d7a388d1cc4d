//! The error for data that does not fit an event's type.

use std::fmt;
use std::sync::Arc;

use crate::json::key_at;
use crate::{Data, EventType};

/// The data does not fit the event's type. Correct the field that the error names.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// A field is missing or has the wrong type.
    #[error("{event_type}: {}{cause}", At(.field.as_deref()))]
    Malformed {
        /// The type of the event.
        event_type: EventType,
        /// The field of `data` with the error. `None` if a field is missing.
        field: Option<Arc<str>>,
        /// The expected value, the value that was found, and its place in the text of `data`.
        cause: Arc<serde_json::Error>,
    },
    /// The value of a field is out of range.
    #[error("{event_type}: `{field}` must be {expected}")]
    Field {
        /// The type of the event.
        event_type: EventType,
        /// The field of `data`.
        field: &'static str,
        /// The values that are allowed.
        expected: &'static str,
    },
}

impl InvalidEvent {
    pub(crate) fn malformed(event_type: &EventType, data: &Data, cause: serde_json::Error) -> Self {
        // serde_json reports a missing field at the end of the object, and names the field.
        let at_end = cause.column() >= data.as_str().len();
        let field = if at_end {
            None
        } else {
            key_at(data.as_str(), cause.column())
        };
        Self::Malformed {
            event_type: event_type.clone(),
            field: field.map(Arc::from),
            cause: Arc::new(cause),
        }
    }

    /// Returns the type of the event.
    pub fn event_type(&self) -> &EventType {
        match self {
            Self::Malformed { event_type, .. } | Self::Field { event_type, .. } => event_type,
        }
    }
}

struct At<'a>(Option<&'a str>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(field) => write!(f, "`{field}`: "),
            None => Ok(()),
        }
    }
}
