//! Why an event's data does not fit its type.

use std::fmt;
use std::sync::Arc;

use crate::json::key_at;
use crate::{Data, EventType};

/// An event's data does not fit its type: correct the field that is named.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// A field is missing or of the wrong kind.
    #[error("{event_type}: {}{cause}", At(.field.as_deref()))]
    Malformed {
        /// The event's type.
        event_type: EventType,
        /// The field of `data` in which it was noticed; none if one is missing.
        field: Option<Arc<str>>,
        /// What was expected, what was found, and where in the text of `data`.
        cause: Arc<serde_json::Error>,
    },
    /// A field is out of range.
    #[error("{event_type}: `{field}` must be {expected}")]
    Field {
        /// The event's type.
        event_type: EventType,
        /// The field of `data`.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl InvalidEvent {
    pub(crate) fn malformed(event_type: &EventType, data: &Data, cause: serde_json::Error) -> Self {
        // serde_json notices a missing field at the end of the object, and says which.
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

    /// The type of the event.
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
