//! The holder of a client id, and what a request must show to take its place.
//!
//! A holder is read in two steps: the registry says which connection has the id, and then the
//! connection says whose it is. The registry's lock is free by then, so a connection that is busy
//! makes nobody wait but the requests for its own client id.

use std::sync::Arc;

use tidings_protocol::ClientId;

use crate::auth::Access;
use crate::connection::Connection;
use crate::registry::{Client, Clients, Registry};
use crate::resume::{Away, ResumeToken, TokenHash};

/// The holder of a client id at one moment.
pub(crate) struct Holder {
    owner: Option<Arc<str>>,
    state: State,
}

enum State {
    Connected(Arc<Connection>, Access),
    Away(TokenHash),
}

impl Holder {
    fn away(away: &Away) -> Self {
        Self {
            owner: away.owner.clone(),
            state: State::Away(away.token),
        }
    }

    fn connected(connection: Arc<Connection>) -> Self {
        let access = connection.access();
        Self {
            owner: access.owner(),
            state: State::Connected(connection, access),
        }
    }

    /// Returns whether the client belongs to the owner of this access.
    pub(crate) fn belongs_to(&self, access: &Access) -> bool {
        self.owner == access.owner()
    }

    /// Returns whether this is the resume token of the client.
    pub(crate) fn has_token(&self, shown: Option<&ResumeToken>) -> bool {
        shown.is_some_and(|shown| match &self.state {
            State::Connected(connection, _) => connection.token().equals(shown),
            State::Away(hash) => hash.is_of(shown),
        })
    }

    /// Returns the client's connection and the connection's permissions, if the client is
    /// connected.
    pub(crate) fn connection(&self) -> Option<(&Arc<Connection>, &Access)> {
        match &self.state {
            State::Connected(connection, access) => Some((connection, access)),
            State::Away(_) => None,
        }
    }
}

impl Registry {
    /// Returns the holder of a client id. The holder may have changed by the time that the caller
    /// locks the registry, see [`Clients::is_held_by`].
    pub(crate) fn holder(&self, id: &ClientId) -> Option<Holder> {
        let connection = match self.lock().by_id.get(id)? {
            Client::Away(away) => return Some(Holder::away(away)),
            Client::Connected { connection, .. } => Arc::clone(connection),
        };
        Some(Holder::connected(connection))
    }
}

impl Clients {
    /// Returns whether the client id still has this holder.
    pub(crate) fn is_held_by(&self, id: &ClientId, holder: Option<&Holder>) -> bool {
        match (self.by_id.get(id), holder) {
            (None, None) => true,
            (Some(Client::Connected { connection, .. }), Some(holder)) => holder
                .connection()
                .is_some_and(|(known, _)| Arc::ptr_eq(known, connection)),
            (Some(Client::Away(away)), Some(holder)) => {
                matches!(holder.state, State::Away(token) if token == away.token)
                    && holder.owner == away.owner
            }
            _ => false,
        }
    }
}
