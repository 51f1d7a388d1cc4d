//! Writes the state of clients as it changes.
//!
//! New facts about a client are written at once. Positions are written every few seconds, for a
//! limited number of clients per round. A node with many busy clients therefore writes each of them
//! less often. After a crash the clients receive the events since then again, and miss none.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_bus::{ClientStanding, ClientState, ClientWritten, Heard, StoreError};
use tidings_protocol::ClientId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::everywhere::Question;
use super::{PRESENCE_TTL, Shared, lock};
use crate::close::CloseReason;
use crate::connection::Connection;
use crate::kept::Watching;
use crate::manager::{Inner, Keep};
use crate::registry::{Client, Taken};
use crate::resume::{Kept, TokenHash};

/// The time between two rounds.
const ROUND: Duration = Duration::from_secs(5);

/// The least number of clients in a round. If there are more, a round covers an eighth of them.
/// Each client is then written well within the time for which it counts as connected.
const A_ROUND: usize = 2_000;

/// How long changes are collected before they are written.
const COLLECT: Duration = Duration::from_millis(20);

/// The pause after a failure to reach the directory.
const RETRY: Duration = Duration::from_secs(1);

/// The number of clients that are processed at the same time.
const CONCURRENT: usize = 32;

impl Shared {
    pub(super) fn pull_later(&self, client_id: &ClientId) {
        lock(&self.todo).pulls.insert(client_id.clone());
    }

    /// Writes all clients again, even if they have not changed.
    fn write_all_again(&self) {
        let mut held = lock(&self.held);
        let mut todo = lock(&self.todo);
        for (client_id, held) in &mut *held {
            held.written = None;
            todo.writes.insert(client_id.clone());
        }
        drop(todo);
        drop(held);
        self.wake.notify_one();
    }

    fn is_done(&self) -> bool {
        let todo = lock(&self.todo);
        todo.writes.is_empty() && todo.owed.is_empty()
    }
}

fn hash(json: &[u8], more: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    json.hash(&mut hasher);
    more.hash(&mut hasher);
    hasher.finish()
}

impl Inner {
    /// Returns the state to write for a client, from the state with which it would resume.
    fn standing(
        &self,
        shared: &Shared,
        client_id: &ClientId,
        mark: &str,
        state: ClientState,
        (token, subject): (TokenHash, Option<Arc<str>>),
        kept: &Kept,
    ) -> ClientStanding {
        let (head, seen) = match &kept.inbox {
            Some((inbox, seen)) => (inbox.head(), *seen),
            None => (0, 0),
        };
        let ttl = match state {
            ClientState::Connected => self.config.offline_ttl.max(PRESENCE_TTL),
            _ => self.config.offline_ttl,
        };
        ClientStanding {
            client_id: client_id.clone(),
            place: shared.place(mark),
            state,
            token: token.to_string(),
            subject: subject.map(|subject| subject.to_string()),
            record: Watching::of(kept).write(),
            seen,
            head,
            ttl,
        }
    }

    /// Removes a client from this node, so that another node can have it.
    pub(super) fn let_go(
        &self,
        shared: &Shared,
        client_id: &ClientId,
        mark: &str,
    ) -> Option<ClientStanding> {
        let _handover = self.registry.hand_over(client_id);
        let taken = self.registry.lock().take(client_id)?;
        let (owner, kept) = match taken {
            Taken::Away(away) => ((away.token, away.owner), away.kept),
            Taken::Connected(connection) => {
                connection.close(CloseReason::Replaced);
                let owner = (TokenHash::of(connection.token()), connection.owner());
                (owner, self.take_subscriptions(&connection))
            }
        };
        let state = ClientState::Away;
        let standing = self.standing(shared, client_id, mark, state, owner, &kept);
        self.release_inbox(&kept);
        Some(standing)
    }

    /// Removes a client that by now belongs to another node, or to none.
    pub(super) fn lose(&self, client_id: &ClientId, why: CloseReason) {
        let _handover = self.registry.hand_over(client_id);
        let taken = self.registry.lock().take(client_id);
        match taken {
            Some(Taken::Connected(connection)) => {
                connection.close(why);
                let kept = self.take_subscriptions(&connection);
                self.release_inbox(&kept);
            }
            Some(Taken::Away(away)) => self.release(&away),
            None => {}
        }
    }

    /// Writes the state of one client. After an error, it must be done again.
    async fn write_client(&self, shared: &Shared, client_id: &ClientId) -> Result<(), StoreError> {
        let _client = shared.lock_client(client_id).await;
        let mark = match lock(&shared.held).get(client_id) {
            // The client is connecting. Its state is written when it has connected.
            Some(held) if held.coming > 0 => return Ok(()),
            Some(held) => held.mark.clone(),
            None => return Ok(()),
        };
        let connection = self.find(client_id);
        let standing = match &connection {
            Some(connection) => {
                let kept = if connection.keep() == Keep::Nothing {
                    Some(self.inbox_of(connection))
                } else {
                    self.standing_of(connection)
                };
                // Bytes still wait for the socket, so the client's position is not known yet. The
                // next round tries again.
                let Some(kept) = kept else { return Ok(()) };
                let owner = (TokenHash::of(connection.token()), connection.owner());
                let state = ClientState::Connected;
                self.standing(shared, client_id, &mark, state, owner, &kept)
            }
            None => {
                // The state is encoded after the registry's lock is released.
                let away = match self.registry.lock().by_id.get(client_id) {
                    Some(Client::Away(away)) => {
                        Some(((away.token, away.owner.clone()), away.kept.clone()))
                    }
                    _ => None,
                };
                let Some((owner, kept)) = away else {
                    shared.left(client_id);
                    return Ok(());
                };
                let state = ClientState::Away;
                self.standing(shared, client_id, &mark, state, owner, &kept)
            }
        };
        let hash = hash(&standing.record, (standing.seen, standing.head));
        let is_fresh = |held: &super::Held| {
            let fresh = |at: Instant| at.elapsed() < standing.ttl / 4;
            matches!(held.written, Some((last, at)) if last == hash && fresh(at))
        };
        if connection.is_some() && lock(&shared.held).get(client_id).is_some_and(is_fresh) {
            return Ok(());
        }
        let written = shared.directory.write(&standing).await?;
        match (written, &connection) {
            (ClientWritten::Kept(head), Some(_)) => {
                if let Some(held) = lock(&shared.held).get_mut(client_id) {
                    held.written = Some((hash, Instant::now()));
                }
                if head > standing.head {
                    shared.pull_soon(client_id);
                }
                return Ok(());
            }
            (ClientWritten::Forgotten, _) => self.lose(client_id, CloseReason::Kicked),
            _ => self.lose(client_id, CloseReason::Replaced),
        }
        shared.left(client_id);
        Ok(())
    }

    /// Returns the inbox of a connection. Nothing else is kept for a client that reconnects with a
    /// position.
    fn inbox_of(&self, connection: &Connection) -> Kept {
        let mut kept = self.standing_of(connection).unwrap_or_default();
        kept.subscriptions.clear();
        kept.groups.clear();
        kept
    }

    /// Does the pending work. Returns `false` if some of it must be done later.
    async fn work(self: &Arc<Self>, shared: &Arc<Shared>) -> bool {
        let _one = shared.working.lock().await;
        let (writes, pulls, owed) = {
            let mut todo = lock(&shared.todo);
            let todo = &mut *todo;
            (
                std::mem::take(&mut todo.writes),
                std::mem::take(&mut todo.pulls),
                std::mem::take(&mut todo.owed),
            )
        };
        let before = writes.len() + owed.len();
        for (at, standing) in owed.iter().enumerate() {
            let _client = shared.lock_client(&standing.client_id).await;
            if lock(&shared.held).contains_key(&standing.client_id) {
                // The client has returned to this node, and its new claim includes everything.
                continue;
            }
            if let Err(error) = shared.directory.write(standing).await {
                tracing::debug!(%error, "the final states of clients will be written later");
                lock(&shared.todo)
                    .owed
                    .extend(owed.iter().skip(at).cloned());
                break;
            }
        }
        let pulls = pulls.into_iter().map(|id| (id, true));
        let all = pulls.chain(writes.into_iter().map(|id| (id, false)));
        let one = |(id, pull): (ClientId, bool)| async move {
            if pull {
                self.pull(shared, &id).await;
            } else if let Err(error) = self.write_client(shared, &id).await {
                tracing::debug!(%error, "the state of a client will be written later");
                lock(&shared.todo).writes.insert(id);
            }
        };
        futures_util::stream::iter(all)
            .for_each_concurrent(CONCURRENT, one)
            .await;
        let todo = lock(&shared.todo);
        before == 0 || todo.writes.len() + todo.owed.len() < before
    }

    /// Adds the clients of this round to the pending work.
    fn note_round(&self, shared: &Shared, from: &mut usize) {
        let ids: Vec<ClientId> = {
            let clients = self.registry.lock();
            let all = clients.connections();
            all.map(|connection| connection.client_id().clone())
                .collect()
        };
        let some = (ids.len() / 8).max(A_ROUND).min(ids.len());
        let start = if ids.is_empty() { 0 } else { *from % ids.len() };
        *from = start + some;
        let of_round: HashSet<ClientId> = ids.into_iter().cycle().skip(start).take(some).collect();
        lock(&shared.todo).writes.extend(of_round);
    }

    /// Writes everything that is pending, for an orderly stop.
    pub(crate) async fn write_clients(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
    ) -> Result<(), StoreError> {
        let deadline = Instant::now() + ROUND;
        // Run at least once, because work that has started is no longer in the queue.
        while self.work(shared).await && Instant::now() < deadline {
            if shared.is_done() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable(
            "some clients' states were not written".into(),
        ))
    }
}

/// Does the pending work until the manager is dropped.
pub(crate) async fn run(inner: Weak<Inner>, shared: Arc<Shared>) {
    let mut round = Instant::now() + ROUND;
    let mut from = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(round) => {}
            () = shared.wake.notified() => tokio::time::sleep(COLLECT).await,
        }
        let Some(inner) = inner.upgrade() else { return };
        if Instant::now() >= round {
            round = Instant::now() + ROUND;
            inner.note_round(&shared, &mut from);
        }
        if !inner.work(&shared).await {
            drop(inner);
            tokio::time::sleep(RETRY).await;
            shared.wake.notify_one();
        }
    }
}

/// Answers the questions of other nodes until the manager is dropped.
pub(crate) async fn hear(
    inner: Weak<Inner>,
    shared: Arc<Shared>,
    mut heard: mpsc::Receiver<Heard>,
) {
    while let Some(next) = heard.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        match next {
            Heard::Lost => shared.write_all_again(),
            Heard::Told(message) => {
                if let Some(Question::Look { client_id }) = Question::decode(&message) {
                    inner.look_for_messages(&shared, &client_id);
                }
            }
            Heard::Asked { question, answer } => {
                let Some(question) = Question::decode(&question) else {
                    // The question comes from a newer version. This node cannot answer it.
                    continue;
                };
                let (shared, asked) = (Arc::clone(&shared), Arc::clone(&inner));
                inner.own.spawn(async move {
                    let said = asked.answer(&shared, question).await;
                    // The node that asked may no longer be waiting.
                    let _ = answer.send(said);
                });
            }
        }
    }
}
