//! Personal messages: the directory numbers them, and the client's node keeps a copy.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidings_bus::watch::Start;
use tidings_bus::{InboxMessage, Topic};
use tidings_protocol::{ClientId, ControlMessage, Data, EventType, Offset, Position, Timestamp};

use super::everywhere::{Question, SendError};
use super::{Shared, lock};
use crate::connection::Connection;
use crate::manager::{Inner, UnknownClient};

/// A message as stored in the directory.
#[derive(Serialize, Deserialize)]
struct Letter {
    event_type: EventType,
    data: Data,
    timestamp: Timestamp,
}

impl Inner {
    /// Sends a message to a client of any node.
    pub(crate) async fn send_by_directory(
        &self,
        shared: &Shared,
        client_id: &ClientId,
        event_type: EventType,
        data: Data,
    ) -> Result<Offset, SendError> {
        let letter = Letter {
            event_type,
            data,
            timestamp: self.bus.config().clock.now(),
        };
        let text = serde_json::to_string(&letter).map_err(SendError::other)?;
        let limits = self.config.inbox;
        let sent = shared
            .directory
            .send(client_id, &text, limits.max_events, limits.max_bytes)
            .await
            .map_err(SendError::Unavailable)?;
        let Some((number, place)) = sent else {
            return Err(UnknownClient(client_id.clone()).into());
        };
        self.counters.count_personal();
        if let Some(place) = place {
            if place.node == shared.neighbours.node() {
                self.look_for_messages(shared, client_id);
            } else {
                let look = Question::Look {
                    client_id: client_id.clone(),
                };
                // If the node does not receive this, it checks when it writes the client next.
                shared.neighbours.tell(&place.node, &look.encode()).await;
            }
        }
        Ok(Offset::new(number).unwrap_or(Offset::MAX))
    }

    /// Records that there are messages for a client of this node.
    pub(crate) fn look_for_messages(&self, shared: &Shared, client_id: &ClientId) {
        if let Some(held) = lock(&shared.held).get_mut(client_id) {
            held.looked = true;
        }
        shared.pull_soon(client_id);
    }

    /// Updates a connection's copy of its inbox.
    pub(crate) async fn pull(&self, shared: &Shared, client_id: &ClientId) {
        let _client = shared.lock_client(client_id).await;
        let Some(connection) = self.find(client_id) else {
            return;
        };
        let head = connection.inbox().map_or(0, |inbox| inbox.head());
        match shared.directory.inbox(client_id, head).await {
            Ok(messages) => {
                let _handover = self.registry.hand_over(client_id);
                // A newer connection of the client continues with the same copy.
                if let Some(connection) = self.find(client_id) {
                    self.take_messages(&connection, &messages);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "messages to a client cannot be read yet");
                shared.pull_later(client_id);
            }
        }
    }

    fn take_messages(&self, connection: &Arc<Connection>, messages: &[InboxMessage]) {
        for (number, text) in messages {
            let inbox = match connection.inbox() {
                Some(inbox) if *number <= inbox.head() => continue,
                Some(inbox) if *number == inbox.head() + 1 => inbox,
                // There is no copy yet, or messages are missing in between. A gap announces the
                // missing ones.
                known => {
                    let inbox = self.bus.detached_topic_from(*number);
                    let epoch = inbox.standing().epoch;
                    let seen = connection.drop_inbox();
                    if let Some(known) = known {
                        self.bus.release_detached(&known);
                    }
                    let offset = Offset::new(seen).unwrap_or(Offset::MAX);
                    connection.add_inbox(&inbox, Start::After(Position { epoch, offset }));
                    inbox
                }
            };
            self.append_letter(&inbox, text);
        }
    }

    /// Returns the copy of an inbox for a client that resumes.
    pub(crate) fn copy_of_inbox(&self, messages: &[InboxMessage], head: u64) -> Arc<Topic> {
        let first = messages.first().map_or(head + 1, |(number, _)| *number);
        let mut inbox = self.bus.detached_topic_from(first);
        for (number, text) in messages {
            if *number != inbox.head() + 1 {
                self.bus.release_detached(&inbox);
                inbox = self.bus.detached_topic_from(*number);
            }
            self.append_letter(&inbox, text);
        }
        inbox
    }

    fn append_letter(&self, inbox: &Arc<Topic>, text: &str) {
        let letter = serde_json::from_str::<Letter>(text).unwrap_or_else(|error| {
            // Numbers must have no holes, so a placeholder replaces the message.
            tracing::warn!(%error, "a message in the directory cannot be read");
            Letter {
                event_type: EventType::Log,
                data: Data::empty(),
                timestamp: self.bus.config().clock.now(),
            }
        });
        let Letter {
            event_type,
            data,
            timestamp,
        } = letter;
        let kind = event_type.clone();
        self.bus
            .append_detached(inbox, &self.config.inbox, kind, |offset, text| {
                let offset = Offset::new(offset).unwrap_or(Offset::MAX);
                let message = ControlMessage::personal_message(offset, event_type, data);
                text.extend_from_slice(message.encode(timestamp).as_bytes());
            });
    }
}
