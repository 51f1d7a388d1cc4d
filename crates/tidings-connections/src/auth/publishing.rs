//! The rules for events that clients publish, and the name under which they publish.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};
use tidings_protocol::{Data, ErrorCode, EventType, NewEvent, TaskId};

use super::{Access, Forbidden};

/// The reason why a client may not publish an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPublishable {
    /// The token lacks a permission.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Only the bus makes events of this type.
    #[error("only the server publishes {0}: publish another type")]
    MadeByBus(EventType),
}

impl NotPublishable {
    /// Returns the protocol's code for this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::MadeByBus(_) => ErrorCode::InvalidEvent,
        }
    }
}

impl Access {
    /// Checks that a client may publish this event to the task. Writes the client's name into
    /// events that say who asked or answered.
    ///
    /// `by` is the name of a client whose token has no subject. Without authentication, events keep
    /// the name that they contain.
    ///
    /// # Errors
    /// Returns an error if the token lacks a permission, or if only the bus makes such events.
    pub fn check_publish(
        &self,
        task_id: &TaskId,
        event: &mut NewEvent,
        by: &str,
    ) -> Result<(), NotPublishable> {
        if event.event_type.is_made_by_bus() {
            return Err(NotPublishable::MadeByBus(event.event_type.clone()));
        }
        let Some(principal) = self.principal() else {
            return Ok(());
        };
        let missing = principal
            .permissions
            .missing_to_publish(task_id, &event.event_type);
        if let Some(permission) = missing {
            return Err(Forbidden(permission).into());
        }
        if says_who(&event.event_type) {
            let by = self.subject().map_or(by, |subject| subject);
            event.data = signed(&event.data, by);
        }
        Ok(())
    }
}

/// Returns whether the field `by` of this type says who made the event.
fn says_who(event_type: &EventType) -> bool {
    matches!(
        event_type,
        EventType::CommandRequested | EventType::InputProvided
    )
}

/// Returns the data with this name as `by`. All other fields stay unchanged.
fn signed(data: &Data, by: &str) -> Data {
    let Ok(mut fields) = data.deserialize::<BTreeMap<String, Box<RawValue>>>() else {
        return data.clone();
    };
    let Ok(by) = to_raw_value(by) else {
        return data.clone();
    };
    fields.insert("by".to_owned(), by);
    Data::from_serialize(&fields).unwrap_or_else(|_| data.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Permissions, Principal};

    fn event(event_type: &str, data: &str) -> NewEvent {
        NewEvent::new(event_type.parse().unwrap(), Data::parse(data).unwrap())
    }

    #[test]
    fn a_name_is_the_clients_own_and_the_rest_stays_as_it_was() {
        let task = TaskId::new("t").unwrap();
        let ada = Access::of(Principal::new(Permissions::all()).subject("ada"));
        let unnamed = Access::of(Principal::new(Permissions::all()));
        let open = Access::unrestricted();
        let data = r#"{"by":"root","command":"stop","command_id":"c","args":{"n":1.10}}"#;
        for (access, name) in [(&ada, "ada"), (&unnamed, "laptop"), (&open, "root")] {
            for event_type in ["command_requested", "input_provided"] {
                let mut event = event(event_type, data);
                access.check_publish(&task, &mut event, "laptop").unwrap();
                assert_eq!(event.data.get()["by"], name, "{event_type}");
                assert!(event.data.as_str().contains("1.10"), "{:?}", event.data);
            }
            let mut own = event("own", data);
            access.check_publish(&task, &mut own, "laptop").unwrap();
            assert_eq!(own.data.as_str(), data);
        }
    }

    #[test]
    fn what_the_bus_makes_is_refused_from_everybody() {
        let task = TaskId::new("t").unwrap();
        for access in [
            Access::unrestricted(),
            Access::of(Principal::new(Permissions::all())),
        ] {
            for event_type in ["task_stalled", "input_expired", "children_update"] {
                let mut event = event(event_type, "{}");
                let refused = access.check_publish(&task, &mut event, "").unwrap_err();
                assert_eq!(refused.code(), ErrorCode::InvalidEvent, "{event_type}");
            }
        }
    }
}
