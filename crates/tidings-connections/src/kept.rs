//! Storage of clients beyond the life of the process.
//!
//! A disconnected client is written as it is kept in memory. A connected client is written as if it
//! disconnected now. Changes are written every few seconds, and everything is written on an orderly
//! stop. After a crash, a connected client continues a few seconds back. It receives the events
//! since then again, and misses none.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_bus::watch::Start;
use tidings_bus::{AccountId, KeepChange, Keeper, Kind, StoreError, View};
use tidings_protocol::{ClientId, EventType, Since, TaskId};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::group::Group;
use crate::manager::{Inner, Keep};
use crate::registry::{AT_ONCE, Expiry};
use crate::resume::{Away, Kept, KeptSubscription, TokenHash};
use crate::subscription::Source;
use crate::subscriptions::GroupSub;

/// How often changes of clients are written.
const EVERY: Duration = Duration::from_secs(5);

/// The stored form of a client.
#[derive(Serialize, Deserialize)]
struct Record {
    token: TokenHash,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Until when the client may reconnect, in milliseconds since 1970. `None` while it is
    /// connected.
    until: Option<u64>,
    subscriptions: Vec<Subscription>,
    /// The patterns, and the trees by their topmost tasks.
    #[serde(rename = "patterns")]
    groups: Vec<Group>,
    inbox: Option<Inbox>,
}

#[derive(Serialize, Deserialize)]
struct Subscription {
    task_id: TaskId,
    /// The position to continue at. If the cursor has not opened yet, `history` says where it
    /// starts; without either it starts live.
    since: Option<Since>,
    history: Option<u64>,
    explicit: bool,
    appeared: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tree: Option<TaskId>,
}

#[derive(Serialize, Deserialize)]
struct Inbox {
    /// The last message that the client received.
    seen: u64,
    /// The number of the first message.
    first: u64,
    messages: Vec<String>,
}

/// The clients as last written, so that only changes are written.
#[derive(Default)]
pub(crate) struct Written {
    clients: HashMap<ClientId, Last>,
    /// Counts the rounds over all clients.
    round: u64,
}

/// The last write of a client.
struct Last {
    /// A hash of the last write, or `None` to write the client again. For a connected client it
    /// covers the whole record. For a disconnected client it covers only the parts that can change.
    hash: Option<u64>,
    /// The last round in which the client existed.
    round: u64,
}

impl Written {
    /// Records the next write of a client. Returns `false` if the same data was already written.
    fn note(&mut self, id: &ClientId, made_by: impl Hash) -> bool {
        let mut hasher = DefaultHasher::new();
        made_by.hash(&mut hasher);
        let (hash, round) = (Some(hasher.finish()), self.round);
        let now = Last { hash, round };
        match self.clients.get_mut(id) {
            Some(known) => std::mem::replace(known, now).hash != hash,
            None => self.clients.insert(id.clone(), now).is_none(),
        }
    }

    /// Records that the client still exists, without writing it.
    fn leave(&mut self, id: &ClientId) {
        if let Some(known) = self.clients.get_mut(id) {
            known.round = self.round;
        }
    }

    /// Marks all clients to be written again. The entries stay, because the store may still have
    /// the clients, and their deletion is found by comparing with these entries.
    fn doubt(&mut self) {
        for known in self.clients.values_mut() {
            known.hash = None;
        }
    }

    /// Returns the clients that did not occur in this round.
    fn unseen(&self) -> Vec<ClientId> {
        let all = self.clients.iter();
        all.filter(|(_, last)| last.round != self.round)
            .map(|(id, _)| id.clone())
            .collect()
    }
}

/// The tasks and groups that a client watches, and its positions, in the form that nodes share.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Watching {
    subscriptions: Vec<Subscription>,
    /// The patterns, and the trees by their topmost tasks.
    #[serde(rename = "patterns")]
    groups: Vec<Group>,
}

impl Watching {
    pub(crate) fn of(kept: &Kept) -> Self {
        Self {
            subscriptions: kept.subscriptions.iter().map(Subscription::from).collect(),
            groups: kept.groups.clone(),
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the stored form. It is empty if nothing was written since the client connected.
    pub(crate) fn read(json: &[u8]) -> Self {
        if json.is_empty() {
            return Self::default();
        }
        serde_json::from_slice(json).unwrap_or_else(|error| {
            tracing::warn!(%error, "the stored subscriptions of a client cannot be read");
            Self::default()
        })
    }

    pub(crate) fn into_kept(self) -> Kept {
        Kept {
            subscriptions: self.subscriptions.into_iter().map(Into::into).collect(),
            groups: self.groups,
            inbox: None,
        }
    }
}

impl From<&KeptSubscription> for Subscription {
    fn from(kept: &KeptSubscription) -> Self {
        let (since, history) = match &kept.start {
            Start::Live => (None, None),
            Start::History(count) => (None, Some(*count)),
            Start::Retained | Start::Appeared => (Some(Since::Start), None),
            Start::After(position) => (Some(Since::After(position.clone())), None),
        };
        Self {
            task_id: kept.task_id.clone(),
            since,
            history,
            explicit: kept.explicit,
            appeared: kept.appeared,
            tree: kept.tree.clone(),
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
            tree: record.tree,
        }
    }
}

impl Inner {
    fn wall(&self) -> u64 {
        self.bus.config().clock.now().as_millis()
    }

    fn record(&self, token: TokenHash, owner: Option<&str>, kept: &Kept) -> Record {
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
            owner: owner.map(str::to_owned),
            until: None,
            subscriptions: kept.subscriptions.iter().map(Subscription::from).collect(),
            groups: kept.groups.clone(),
            inbox,
        }
    }

    /// Returns the changes of disconnected clients since the last write, starting after `after`.
    /// Sets `after` to the last client visited.
    fn changes_of_away(
        &self,
        after: &mut Option<Expiry>,
        written: &mut Written,
    ) -> Vec<KeepChange> {
        let now = Instant::now();
        let wall = self.wall();
        let mut changed = Vec::new();
        {
            let clients = self.registry.lock();
            let some = clients.away_after(after.as_ref());
            *after = some.last().map(|(expiry, _)| (*expiry).clone());
            for ((until, id), away) in some {
                let inbox = away.kept.inbox.as_ref();
                let head = inbox.map_or(0, |(topic, _)| topic.head());
                if written.note(id, (until, head)) {
                    let state = (away.token, away.owner.clone(), away.kept.clone());
                    changed.push((id.clone(), *until, state));
                }
            }
        }
        // Messages are copied and encoded after the registry's lock is released.
        let encoded = changed.into_iter().filter_map(|(id, until, state)| {
            let (token, owner, kept) = state;
            let left = until.saturating_duration_since(now).as_millis();
            let mut record = self.record(token, owner.as_deref(), &kept);
            record.until = Some(wall + u64::try_from(left).unwrap_or(u64::MAX / 2));
            let json = serde_json::to_vec(&record).ok()?;
            Some((id.to_string(), Some(json)))
        });
        encoded.collect()
    }

    /// Returns the changes of these clients since the last write.
    fn changes_of(&self, connected: &[Arc<Connection>], written: &mut Written) -> Vec<KeepChange> {
        let mut changes = Vec::new();
        for connection in connected {
            let id = connection.client_id();
            if connection.keep() == Keep::Nothing {
                if written.clients.contains_key(id) && written.note(id, ()) {
                    changes.push((id.to_string(), None));
                }
                continue;
            }
            // Bytes still wait for the socket, so the client's position is not known yet. The last
            // written position stays valid.
            let Some(kept) = self.standing_of(connection) else {
                written.leave(id);
                continue;
            };
            let token = TokenHash::of(connection.token());
            let record = self.record(token, connection.owner().as_deref(), &kept);
            if let Ok(json) = serde_json::to_vec(&record)
                && written.note(id, &json)
            {
                changes.push((id.to_string(), Some(json)));
            }
        }
        changes
    }

    /// Returns the clients of this list that are neither registered nor connecting.
    fn gone<'a>(&self, ids: &'a [ClientId]) -> Vec<&'a ClientId> {
        let clients = self.registry.lock();
        ids.iter().filter(|id| !clients.knows(id)).collect()
    }

    /// Returns the state with which the client could resume if it disconnected now. Returns `None`
    /// while bytes wait for its socket.
    pub(crate) fn standing_of(&self, connection: &Connection) -> Option<Kept> {
        let out = connection.lock();
        if out.writer.is_waiting() {
            return None;
        }
        let mut kept = Kept::default();
        if let Some(jobs) = out.subs.jobs() {
            jobs.add_to(&mut kept);
        }
        kept.groups.extend(out.subs.groups().map(GroupSub::group));
        for (_, sub) in out.subs.iter() {
            match &sub.source {
                Source::Task(task) => {
                    let mut kept_sub = sub.kept(task);
                    if !sub.explicit {
                        kept_sub.tree = out.subs.tree_of(task.id());
                    }
                    kept.subscriptions.push(kept_sub);
                }
                Source::Inbox(inbox) => kept.inbox = Some((Arc::clone(inbox), sub.seen())),
            }
        }
        Some(kept)
    }

    /// Loads a stored client. Returns `false` if its time to reconnect has passed.
    fn take_in(&self, id: ClientId, record: Record) -> bool {
        let ttl = self.config.offline_ttl;
        let left = match record.until {
            Some(until) => Duration::from_millis(until.saturating_sub(self.wall())).min(ttl),
            // The client was connected until the process stopped.
            None => ttl,
        };
        if left.is_zero() {
            return false;
        }
        let inbox = record.inbox.map(|inbox| {
            let topic = self.bus.detached_topic_from(inbox.first);
            let limits = self.config.inbox;
            for message in inbox.messages {
                // Treat a message that cannot be read as the end of the inbox.
                let Some(kind) = kind_of(&message) else { break };
                self.bus.append_detached(&topic, &limits, kind, |_, text| {
                    text.extend_from_slice(message.as_bytes());
                });
            }
            (topic, inbox.seen)
        });
        let kept = Kept {
            subscriptions: record.subscriptions.into_iter().map(Into::into).collect(),
            groups: record.groups,
            inbox,
        };
        let owner: Option<Arc<str>> = record.owner.map(Arc::from);
        let subject = owner
            .as_deref()
            .and_then(|owner| owner.strip_prefix("subject:"));
        let account = match subject {
            Some(subject) => self.bus.ledger().account(&AccountId::subject(subject)),
            None => self.bus.ledger().own().clone(),
        };
        // The client existed before, so it is not refused even if the account is full.
        let charge = account.take(Kind::KeptClient, kept.bytes());
        if let Some((inbox, _)) = &kept.inbox {
            self.bus.charge_detached(inbox, &account);
        }
        let away = Away::new(record.token, owner, kept, left, charge);
        self.registry.lock().keep(id, away);
        true
    }
}

/// Returns the event type of a stored personal message.
fn kind_of(message: &str) -> Option<EventType> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message["data"]["event_type"].as_str()?.parse().ok()
}

/// Loads all stored clients. Returns how many of them may still reconnect.
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
                tracing::warn!(%name, ?error, "the stored state of a client cannot be read");
                forgotten.push((name, None));
            }
        }
    }
    keeper.keep(forgotten).await?;
    Ok(count)
}

/// Writes all changes once. Each write contains a limited number of clients, so that a publisher
/// does not wait long for the store.
pub(crate) async fn save(inner: &Inner) -> Result<(), StoreError> {
    let Some(keeper) = inner.keeper.get() else {
        return Ok(());
    };
    // Only one save runs at a time. If a round fails, the next one repeats it completely.
    let mut written = inner.written.lock().await;
    let saved = save_changes(inner, &**keeper, &mut written).await;
    if saved.is_err() {
        written.doubt();
    }
    saved
}

async fn save_changes(
    inner: &Inner,
    keeper: &dyn Keeper,
    written: &mut Written,
) -> Result<(), StoreError> {
    written.round += 1;
    let mut from = 0;
    while let Some(some) = inner.registry.connected_from(&mut from) {
        write(keeper, inner.changes_of(&some, written)).await?;
    }
    let mut after = None;
    loop {
        let changes = inner.changes_of_away(&mut after, written);
        write(keeper, changes).await?;
        if after.is_none() {
            break;
        }
    }
    for some in written.unseen().chunks(AT_ONCE) {
        let gone = inner.gone(some);
        let changes = gone.iter().map(|id| (id.to_string(), None)).collect();
        write(keeper, changes).await?;
        for id in gone {
            written.clients.remove(id);
        }
    }
    Ok(())
}

async fn write(keeper: &dyn Keeper, changes: Vec<KeepChange>) -> Result<(), StoreError> {
    if changes.is_empty() {
        // Yield, so that other tasks run in between.
        tokio::task::yield_now().await;
        return Ok(());
    }
    keeper.keep(changes).await
}

/// Writes the changes periodically.
pub(crate) async fn run(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(error) = save(&inner).await {
            tracing::warn!(%error, "clients' positions were not written");
        }
    }
}
