//! Clients that went away and may come back.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use tidings_bus::watch::Start;
use tidings_bus::{Charge, Topic};
use tidings_protocol::{Pattern, TaskId};
use tokio::time::Instant;

use crate::defaults::{KEPT_CLIENT_BYTES, KEPT_POSITION_BYTES};

/// The secret by which a client proves that it is the one it was.
#[derive(Clone, Copy)]
pub(crate) struct ResumeToken([u8; 16]);

impl ResumeToken {
    /// 122 random bits, from a generator made for secrets (`rand`'s of the thread,
    /// which the system's seeds): the system's own would be a system call each.
    pub(crate) fn generate() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }
}

/// What is kept of a token beyond its connection: enough to know it again, and
/// nothing to come back with for whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &ResumeToken) -> Self {
        Self(Sha256::digest(token.0).into())
    }

    /// Whether this is the token, without telling by the time how near it is.
    pub(crate) fn is_of(&self, token: &ResumeToken) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

/// As it lies in a directory that nodes share.
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

/// The text is no token of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a resume token is 32 hexadecimal digits")]
pub(crate) struct ResumeTokenError;

impl FromStr for ResumeToken {
    type Err = ResumeTokenError;

    fn from_str(text: &str) -> Result<Self, ResumeTokenError> {
        uuid::Uuid::try_parse(text)
            .map(|id| Self(*id.as_bytes()))
            .map_err(|_| ResumeTokenError)
    }
}

/// What is kept of a client.
#[derive(Default)]
pub(crate) struct Kept {
    /// Where it was in each task.
    pub(crate) subscriptions: Vec<KeptSubscription>,
    /// Patterns it watched.
    pub(crate) patterns: Vec<Pattern>,
    /// Its messages, and the last one it got.
    pub(crate) inbox: Option<(Arc<Topic>, u64)>,
}

impl Kept {
    /// Returns the bytes that it is charged for: what it takes in the registry, and
    /// its positions.
    pub(crate) fn bytes(&self) -> u64 {
        let positions = self.subscriptions.len() + self.patterns.len();
        KEPT_CLIENT_BYTES + KEPT_POSITION_BYTES * positions as u64
    }
}

/// A subscription to go on with.
#[derive(Clone)]
pub(crate) struct KeptSubscription {
    pub(crate) task_id: TaskId,
    /// After the last event that it got; or, if its client never heard of it,
    /// where it was to start.
    pub(crate) start: Start,
    /// Asked for by name, and not only matched by a pattern.
    pub(crate) explicit: bool,
    /// The client has seen nothing of the task yet.
    pub(crate) appeared: bool,
}

/// A client that is away.
pub(crate) struct Away {
    pub(crate) token: TokenHash,
    /// Whom it belongs to: nobody else may go on in its place.
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) kept: Kept,
    pub(crate) until: Instant,
    /// What pays for it.
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
        // Most have one subscription, and a vector grows to four at once.
        kept.subscriptions.shrink_to_fit();
        kept.patterns.shrink_to_fit();
        Box::new(Self {
            token,
            owner,
            kept,
            until: Instant::now() + ttl,
            charge,
        })
    }
}
