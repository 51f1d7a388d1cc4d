//! Claims: how a client moves to this node.

use std::sync::Arc;

use tidings_bus::{Claim, Claimed, ClientStanding, ClientState, KeptClient, Place};
use tidings_protocol::{ClientId, TaskId};

use super::everywhere::Question;
use super::{Held, PATIENCE, PRESENCE_TTL, Shared, lock};
use crate::close::CloseReason;
use crate::group::Group;
use crate::kept::Watching;
use crate::manager::{AdmissionError, ConnectRequest, Inner};
use crate::resume::{Kept, ResumeToken, TokenHash};

/// The right to connect a client to this node. If no connection uses it, it is given back.
pub(crate) struct Ticket {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
    client_id: ClientId,
    mark: String,
    /// The resume token that the client has from now on.
    pub(crate) token: ResumeToken,
    subject: Option<String>,
    resumed: Option<KeptClient>,
    /// `true` if the directory has confirmed the claim.
    claimed: bool,
    used: bool,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl Ticket {
    /// Returns the client's stored state, if the client was known.
    pub(crate) fn kept(&self) -> Option<Kept> {
        let resumed = self.resumed.as_ref()?;
        let mut kept = Watching::read(&resumed.record).into_kept();
        if resumed.head > 0 {
            let topic = self.inner.copy_of_inbox(&resumed.messages, resumed.head);
            kept.inbox = Some((topic, resumed.seen));
        }
        Some(kept)
    }

    /// Returns the tasks and groups that the client will resume.
    pub(crate) fn watched(&self) -> (Vec<TaskId>, Vec<Group>) {
        let kept = self.resumed.as_ref();
        let kept = kept.map(|resumed| Watching::read(&resumed.record).into_kept());
        let kept = kept.unwrap_or_default();
        let tasks = kept.subscriptions.into_iter().map(|known| known.task_id);
        (tasks.collect(), kept.groups)
    }

    /// Records that the client is connected, registered and greeted.
    pub(crate) fn used(mut self) {
        self.used = true;
        let looked = self.shared.arrived(&self.client_id);
        if looked || self.resumed.is_some() {
            self.shared.pull_soon(&self.client_id);
        }
        self.shared.write_soon(&self.client_id);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.used {
            return;
        }
        self.shared.arrived(&self.client_id);
        if self.inner.stays(&self.shared, &self.client_id) {
            return;
        }
        if !self.claimed {
            // There is nothing to give back. If the confirmation was lost, the next node that
            // claims the client asks this node to release it.
            return;
        }
        let resumed = self.resumed.take();
        let state = match resumed {
            Some(_) => ClientState::Away,
            None => ClientState::Gone,
        };
        let (record, seen, head) =
            resumed.map_or_else(Default::default, |kept| (kept.record, kept.seen, kept.head));
        let standing = ClientStanding {
            client_id: self.client_id.clone(),
            place: self.shared.place(&self.mark),
            state,
            token: TokenHash::of(&self.token).to_string(),
            subject: self.subject.take(),
            record,
            seen,
            head,
            ttl: self.inner.config.offline_ttl,
        };
        self.shared.owe(standing, self.inner.config.max_away);
    }
}

impl Shared {
    /// Records that a client is about to connect. Returns the mark of its stay at this node.
    fn coming(&self, client_id: &ClientId) -> String {
        let mut held = lock(&self.held);
        let held = held.entry(client_id.clone()).or_insert_with(|| Held {
            mark: uuid::Uuid::new_v4().simple().to_string(),
            coming: 0,
            written: None,
            looked: false,
        });
        held.coming += 1;
        held.mark.clone()
    }

    /// Records that the client has connected, or will not. Returns whether to check for messages.
    fn arrived(&self, client_id: &ClientId) -> bool {
        let mut held = lock(&self.held);
        let Some(held) = held.get_mut(client_id) else {
            return false;
        };
        held.coming = held.coming.saturating_sub(1);
        std::mem::take(&mut held.looked)
    }
}

impl Inner {
    /// Claims the client of a request for this node. A client that asks for another owner's id gets
    /// a new one, just as on a single node.
    pub(crate) async fn claim(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        request: &mut ConnectRequest,
    ) -> Result<Ticket, AdmissionError> {
        self.check(request)?;
        self.release_id_of_another(request);
        loop {
            match self.claim_once(shared, request).await? {
                Some(ticket) => return Ok(ticket),
                None => {
                    request.client_id = None;
                    request.resume_token = None;
                }
            }
        }
    }

    /// Claims the client once. Returns `None` if the id belongs to another owner.
    async fn claim_once(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        request: &mut ConnectRequest,
    ) -> Result<Option<Ticket>, AdmissionError> {
        let client_id = request
            .client_id
            .get_or_insert_with(ClientId::generate)
            .clone();
        let shown = request.resume_token.as_ref();
        let shown = shown.and_then(|token| token.reveal().parse::<ResumeToken>().ok());
        let subject = request.access.owner().map(|owner| owner.to_string());
        let fresh = ResumeToken::generate();
        let mark = shared.coming(&client_id);
        let mut ticket = Ticket {
            inner: Arc::clone(self),
            shared: Arc::clone(shared),
            client_id: client_id.clone(),
            mark: mark.clone(),
            token: fresh,
            subject: subject.clone(),
            resumed: None,
            claimed: false,
            used: false,
        };
        let claim = Claim {
            client_id: client_id.clone(),
            place: shared.place(&mark),
            proof: shown.map(|token| TokenHash::of(&token).to_string()),
            subject,
            fresh: TokenHash::of(&fresh).to_string(),
            force: false,
            ttl: self.config.offline_ttl.max(PRESENCE_TTL),
        };
        match claim_from(self, shared, claim).await {
            Ok(Claimed::Fresh { .. }) => {}
            Ok(Claimed::Others) => return Ok(None),
            Ok(Claimed::Resumed { kept, .. }) => {
                // A client can resume only with its token, so `shown` is present.
                ticket.token = shown.unwrap_or(fresh);
                ticket.resumed = Some(kept);
            }
            refused => {
                return Err(match refused {
                    Ok(_) => AdmissionError::ClientIdInUse,
                    Err(error) => {
                        tracing::debug!(%error, "a client is refused: the directory cannot be reached");
                        AdmissionError::Unavailable
                    }
                });
            }
        }
        ticket.claimed = true;
        Ok(Some(ticket))
    }

    /// Called after an unused claim. Returns whether the client stays with this node for another
    /// reason. If not, the node releases the client.
    fn stays(&self, shared: &Shared, client_id: &ClientId) -> bool {
        let clients = self.registry.lock();
        let is_here = clients.by_id.contains_key(client_id);
        let mut held = lock(&shared.held);
        let is_coming = held.get(client_id).is_some_and(|held| held.coming > 0);
        if is_here || is_coming {
            drop(held);
            shared.write_soon(client_id);
            return true;
        }
        held.remove(client_id);
        false
    }

    /// Hands a client over to the node that asks for it.
    pub(crate) async fn yield_client(&self, shared: &Shared, client_id: &ClientId, mark: &str) {
        let _client = shared.lock_client(client_id).await;
        let ours = |held: &Held| held.mark == mark && held.coming == 0;
        if !lock(&shared.held).get(client_id).is_some_and(ours) {
            return;
        }
        let Some(standing) = self.let_go(shared, client_id, mark) else {
            return;
        };
        shared.left(client_id);
        // If the write fails, the last written state stays valid.
        if let Err(error) = shared.directory.write(&standing).await {
            tracing::debug!(%error, "a client moved to another node without its latest position");
        }
    }
}

/// Claims the client. If another node holds it, asks that node first to release it.
async fn claim_from(
    inner: &Inner,
    shared: &Shared,
    mut claim: Claim,
) -> Result<Claimed, tidings_bus::StoreError> {
    loop {
        let held = {
            let _client = shared.lock_client(&claim.client_id).await;
            let claimed = shared.directory.claim(&claim).await?;
            if let Claimed::Fresh { stale: true } | Claimed::Resumed { stale: true, .. } = claimed {
                // Another node has written newer state than this node has.
                inner.lose(&claim.client_id, CloseReason::Replaced);
            }
            match claimed {
                Claimed::Held(place) => place,
                other => return Ok(other),
            }
        };
        let Place { node, mark } = held;
        let question = Question::Yield {
            client_id: claim.client_id.clone(),
            mark,
        };
        let question = question.encode();
        // A node that does not answer is dead or cut off. Its last written state is valid, and its
        // later writes are refused.
        shared
            .neighbours
            .ask(Some(&node), &question, PATIENCE)
            .await;
        claim.force = true;
    }
}
