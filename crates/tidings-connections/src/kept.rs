//! Clients beyond the process: what is written of them, and read again.
//!
//! A client that is away is written as it is kept in memory, and a connected
//! one where it would be if it went now. Every few seconds, what has changed;
//! and all of it at a stop in order. So a crash takes a connected client back
//! by seconds: it gets again what came since, and misses nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_bus::{KeepChange, Keeper, Start, StoreError, View};
use tidings_protocol::{ClientId, EventType, Pattern, Since, TaskId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::manager::{Inner, Keep};
use crate::registry::Client;
use crate::resume::{Away, Kept, KeptSubscription, TokenHash};
use crate::subscriptions::Source;

/// How often what has changed of clients is written.
const EVERY: Duration = Duration::from_secs(5);

/// A client as it is written.
#[derive(Serialize, Deserialize)]
struct Record {
    token: TokenHash,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Until when it may come back, in milliseconds since 1970; none while it
    /// is connected.
    until: Option<u64>,
    subscriptions: Vec<Subscription>,
    patterns: Vec<Pattern>,
    inbox: Option<Inbox>,
}

#[derive(Serialize, Deserialize)]
struct Subscription {
    task_id: TaskId,
    /// Where it goes on; `history` where it has yet to begin, none for live.
    since: Option<Since>,
    history: Option<u64>,
    explicit: bool,
    appeared: bool,
}

#[derive(Serialize, Deserialize)]
struct Inbox {
    /// The last message that the client got.
    seen: u64,
    /// The number of the first of these.
    first: u64,
    messages: Vec<String>,
}

/// What was last written, so that only what has changed is.
#[derive(Default)]
pub(crate) struct Written(HashMap<ClientId, u64>);

/// What a client watches and where it was, as nodes that share clients write it.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Watching {
    subscriptions: Vec<Subscription>,
    patterns: Vec<Pattern>,
}

impl Watching {
    pub(crate) fn of(kept: &Kept) -> Self {
        Self {
            subscriptions: kept.subscriptions.iter().map(Subscription::from).collect(),
            patterns: kept.patterns.clone(),
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Nothing yet, if it was not written since the client came.
    pub(crate) fn read(json: &[u8]) -> Self {
        if json.is_empty() {
            return Self::default();
        }
        serde_json::from_slice(json).unwrap_or_else(|error| {
            tracing::warn!(%error, "what a client watched cannot be read");
            Self::default()
        })
    }

    pub(crate) fn into_kept(self) -> Kept {
        Kept {
            subscriptions: self.subscriptions.into_iter().map(Into::into).collect(),
            patterns: self.patterns,
            inbox: None,
        }
    }
}

impl From<&KeptSubscription> for Subscription {
    fn from(kept: &KeptSubscription) -> Self {
        let (since, history) = match &kept.start {
            Start::Live => (None, None),
            Start::History(count) => (None, Some(*count)),
            Start::Retained => (Some(Since::Start), None),
            Start::After(position) => (Some(Since::After(position.clone())), None),
        };
        Self {
            task_id: kept.task_id.clone(),
            since,
            history,
            explicit: kept.explicit,
            appeared: kept.appeared,
        }
    }
}

impl From<Subscription> for KeptSubscription {
    fn from(record: Subscription) -> Self {
        let start = match (record.since, record.history) {
            (Some(since), _) => since.into(),
            (None, Some(count)) => Start::History(count),
            (None, None) => Start::Live,
        };
        Self {
            task_id: record.task_id,
            start,
            explicit: record.explicit,
            appeared: record.appeared,
        }
    }
}

impl Inner {
    fn wall(&self) -> u64 {
        self.bus.config().clock.now().as_millis()
    }

    fn record(&self, token: TokenHash, subject: Option<&str>, kept: &Kept) -> Record {
        let inbox = kept.inbox.as_ref().map(|(topic, seen)| {
            let mut view = View::default();
            topic.fill(&mut view, 1);
            let messages = (view.first()..=view.head()).filter_map(|offset| view.record(offset));
            Inbox {
                seen: *seen,
                first: view.first(),
                messages: messages.map(|record| record.json().to_owned()).collect(),
            }
        });
        Record {
            token,
            subject: subject.map(str::to_owned),
            until: None,
            subscriptions: kept.subscriptions.iter().map(Subscription::from).collect(),
            patterns: kept.patterns.clone(),
            inbox,
        }
    }

    /// What has changed since it was last written.
    fn changes(&self, written: &mut Written) -> Vec<KeepChange> {
        let now = Instant::now();
        let wall = self.wall();
        let mut records = Vec::new();
        let mut unsure = Vec::new();
        let mut connected = Vec::new();
        {
            let clients = self.registry.lock();
            for (id, client) in &clients.by_id {
                match client {
                    Client::Connected { connection, .. } => connected.push(Arc::clone(connection)),
                    Client::Away(away) => {
                        let left = away.until.saturating_duration_since(now).as_millis();
                        let subject = away.subject.as_deref();
                        let mut record = self.record(away.token, subject, &away.kept);
                        // In steps, or it would change with every look.
                        let until = wall + u64::try_from(left).unwrap_or(u64::MAX / 2);
                        record.until = Some(until.div_ceil(1_000) * 1_000);
                        records.push((id.clone(), record));
                    }
                }
            }
        }
        for connection in connected {
            if connection.keep() == Keep::Nothing {
                continue;
            }
            let id = connection.client_id().clone();
            match self.standing_of(&connection) {
                Some(kept) => {
                    let token = TokenHash::of(connection.token());
                    let subject = connection.subject();
                    records.push((id, self.record(token, subject.as_deref(), &kept)));
                }
                // Where it really is will be known when its socket has taken
                // what waits: what was written before holds.
                None => unsure.push(id),
            }
        }
        let mut changes = Vec::new();
        let mut after = HashMap::new();
        for (id, record) in records {
            let Ok(json) = serde_json::to_vec(&record) else {
                continue;
            };
            let mut hasher = DefaultHasher::new();
            json.hash(&mut hasher);
            let hash = hasher.finish();
            if written.0.get(&id) != Some(&hash) {
                changes.push((id.to_string(), Some(json)));
            }
            after.insert(id, hash);
        }
        for id in unsure {
            if let Some(hash) = written.0.get(&id) {
                after.insert(id, *hash);
            }
        }
        for id in written.0.keys().filter(|id| !after.contains_key(*id)) {
            changes.push((id.to_string(), None));
        }
        *written = Written(after);
        changes
    }

    /// Where a connected client would be if it went now; none while something
    /// waits for its socket.
    pub(crate) fn standing_of(&self, connection: &Connection) -> Option<Kept> {
        let out = connection.lock();
        if out.pending.is_some() {
            return None;
        }
        let mut kept = Kept::default();
        for pattern in out.subs.patterns() {
            kept.patterns.push(pattern.pattern.clone());
        }
        for (_, sub) in out.subs.iter() {
            match &sub.source {
                Source::Task(task) => kept.subscriptions.push(sub.kept(task)),
                Source::Inbox(inbox) => kept.inbox = Some((Arc::clone(inbox), sub.seen())),
            }
        }
        Some(kept)
    }

    /// Takes in a client that was written; false if its time is up.
    fn take_in(&self, id: ClientId, record: Record) -> bool {
        let ttl = self.config.offline_ttl;
        let left = match record.until {
            Some(until) => Duration::from_millis(until.saturating_sub(self.wall())).min(ttl),
            // It was connected until the stop.
            None => ttl,
        };
        if left.is_zero() {
            return false;
        }
        let inbox = record.inbox.map(|inbox| {
            let topic = self.bus.detached_topic_from(inbox.first);
            let limits = self.config.inbox;
            for message in inbox.messages {
                // What cannot be read is as if it ended there.
                let Some(kind) = kind_of(&message) else { break };
                self.bus.append_detached(&topic, &limits, kind, |_, text| {
                    text.extend_from_slice(message.as_bytes());
                });
            }
            (topic, inbox.seen)
        });
        let kept = Kept {
            subscriptions: record.subscriptions.into_iter().map(Into::into).collect(),
            patterns: record.patterns,
            inbox,
        };
        let subject = record.subject.map(Arc::from);
        let away = Away::new(record.token, subject, kept, left);
        self.registry.lock().keep(id, away);
        true
    }
}

/// What kind of event a personal message carries.
fn kind_of(message: &str) -> Option<EventType> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message["data"]["event_type"].as_str()?.parse().ok()
}

/// Reads the clients that were kept; gives how many may still come back.
pub(crate) async fn restore(inner: &Inner, keeper: &dyn Keeper) -> Result<usize, StoreError> {
    let mut forgotten = Vec::new();
    let mut count = 0;
    for (name, json) in keeper.kept().await? {
        let read = serde_json::from_slice::<Record>(&json);
        match (name.parse::<ClientId>(), read) {
            (Ok(id), Ok(record)) => {
                if inner.take_in(id, record) {
                    count += 1;
                } else {
                    forgotten.push((name, None));
                }
            }
            (_, read) => {
                let error = read.err();
                tracing::warn!(%name, ?error, "what was kept of a client cannot be read");
                forgotten.push((name, None));
            }
        }
    }
    keeper.keep(forgotten).await?;
    Ok(count)
}

/// Writes what has changed, once.
pub(crate) async fn save(inner: &Inner) -> Result<(), StoreError> {
    let Some(keeper) = inner.keeper.get() else {
        return Ok(());
    };
    // One at a time; a round that fails is repeated whole by the next.
    let mut written = inner.written.lock().await;
    let changes = inner.changes(&mut written);
    if changes.is_empty() {
        return Ok(());
    }
    let kept = keeper.keep(changes).await;
    if kept.is_err() {
        *written = Written::default();
    }
    kept
}

/// Writes what has changed, again and again.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = save(&inner).await {
            tracing::warn!(%error, "clients' positions were not written");
        }
    }
}
