//! Clients that have disconnected and may reconnect.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use tidings_bus::watch::Start;
use tidings_bus::{Charge, Topic};
use tidings_protocol::TaskId;
use tokio::time::Instant;

use crate::defaults::{KEPT_CLIENT_BYTES, KEPT_POSITION_BYTES};
use crate::group::Group;

/// The secret with which a client proves that it is the same client as before.
#[derive(Clone, Copy)]
pub(crate) struct ResumeToken([u8; 16]);

impl ResumeToken {
    /// Generates 122 random bits with `rand`'s thread-local generator, which is made for secrets
    /// and seeded by the system. The system's own generator would need a system call for each
    /// token.
    pub(crate) fn generate() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }

    /// Returns whether both are the same token. The comparison takes constant time.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The hash of a token, which outlives the connection. It identifies the token, but a reader of the
/// hash cannot resume with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &ResumeToken) -> Self {
        Self(Sha256::digest(token.0).into())
    }

    /// Returns whether this is the hash of the token. The comparison takes constant time.
    pub(crate) fn is_of(&self, token: &ResumeToken) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

/// The form in the directory that nodes share.
impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).simple().fmt(f)
    }
}

/// Returned when a text is not a resume token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a resume token must have 32 hexadecimal digits")]
pub(crate) struct ResumeTokenError;

impl FromStr for ResumeToken {
    type Err = ResumeTokenError;

    fn from_str(text: &str) -> Result<Self, ResumeTokenError> {
        uuid::Uuid::try_parse(text)
            .map(|id| Self(*id.as_bytes()))
            .map_err(|_| ResumeTokenError)
    }
}

/// The state with which a client resumes.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    /// The client's position in each task.
    pub(crate) subscriptions: Vec<KeptSubscription>,
    /// The patterns and trees that the client watched.
    pub(crate) groups: Vec<Group>,
    /// The client's inbox, and the last message that the client received.
    pub(crate) inbox: Option<(Arc<Topic>, u64)>,
}

impl Kept {
    /// Returns the bytes that are charged for the client: its entries in the registry and its
    /// positions.
    pub(crate) fn bytes(&self) -> u64 {
        let positions = self.subscriptions.len() + self.groups.len();
        KEPT_CLIENT_BYTES + KEPT_POSITION_BYTES * positions as u64
    }
}

/// A subscription with which a client resumes.
#[derive(Clone)]
pub(crate) struct KeptSubscription {
    pub(crate) task_id: TaskId,
    /// After the last event that the client received. If the client never heard of the
    /// subscription, where it was going to start.
    pub(crate) start: Start,
    /// `true` if the client subscribed by name, and not only through a group.
    pub(crate) explicit: bool,
    /// The tree that brought the task, if only a tree did.
    pub(crate) tree: Option<TaskId>,
    /// `true` if the client has seen nothing of the task yet.
    pub(crate) appeared: bool,
}

/// A disconnected client.
pub(crate) struct Away {
    pub(crate) token: TokenHash,
    /// The owner of the client. No other owner may resume it.
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) kept: Kept,
    pub(crate) until: Instant,
    /// The charge for the client.
    pub(crate) charge: Charge,
}

impl Away {
    pub(crate) fn new(
        token: TokenHash,
        owner: Option<Arc<str>>,
        mut kept: Kept,
        ttl: Duration,
        charge: Charge,
    ) -> Box<Self> {
        // Most clients have one subscription, but a vector allocates room for four.
        kept.subscriptions.shrink_to_fit();
        kept.groups.shrink_to_fit();
        Box::new(Self {
            token,
            owner,
            kept,
            until: Instant::now() + ttl,
            charge,
        })
    }
}
