//! Clients in Redis: the place, the record and the inbox of each client.

use async_trait::async_trait;
use redis::{Script, ScriptInvocation, Value};
use tidings_bus::{
    Claim, Claimed, ClientDirectory, ClientStanding, ClientState, ClientWritten, InboxMessage,
    KeptClient, Place, StoreError,
};
use tidings_protocol::ClientId;

use crate::keys::Keys;
use crate::link::Link;
use crate::script::ClientScripts;
use crate::store::{garbled, millis, number, text, unavailable};

/// Clients of all nodes, in Redis.
///
/// Each method is one script that uses one client's keys, so it is atomic and costs one round
/// trip. A record expires by Redis's clock unless a node writes it again. Redis stores only
/// hashes of tokens.
pub struct RedisClients {
    link: Link,
    keys: Keys,
    scripts: ClientScripts,
}

impl std::fmt::Debug for RedisClients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisClients").finish_non_exhaustive()
    }
}

fn written(place: &Place) -> String {
    format!("{}/{}", place.node, place.mark)
}

/// Reads a place as it is written. Returns `None` for a client that is away.
fn place(value: &Value) -> Option<Place> {
    let (node, mark) = text(value)?.split_once('/')?;
    Some(Place {
        node: node.to_owned(),
        mark: mark.to_owned(),
    })
}

/// `[number, text, number, text, …]`
fn messages(value: &Value) -> Result<Vec<InboxMessage>, StoreError> {
    let Value::Array(parts) = value else {
        return Err(garbled("an inbox cannot be read"));
    };
    let pairs = parts.chunks_exact(2);
    let read = pairs.map(|pair| Some((number(&pair[0])?, text(&pair[1])?.to_owned())));
    read.collect::<Option<_>>()
        .ok_or_else(|| garbled("a message cannot be read"))
}

fn kept(parts: &[Value]) -> Result<KeptClient, StoreError> {
    let [Value::BulkString(record), seen, head, rest] = parts else {
        return Err(garbled("a client in Redis cannot be read"));
    };
    let (Some(seen), Some(head)) = (number(seen), number(head)) else {
        return Err(garbled("a client in Redis cannot be read"));
    };
    Ok(KeptClient {
        record: record.clone(),
        seen,
        head,
        messages: messages(rest)?,
    })
}

impl RedisClients {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            keys: Keys::new(&link.config().prefix),
            scripts: ClientScripts::new(),
            link,
        }
    }

    fn invocation<'a>(&self, script: &'a Script, client_id: &ClientId) -> ScriptInvocation<'a> {
        let (client, inbox) = self.keys.client(client_id);
        let mut invocation = script.prepare_invoke();
        invocation.key(client).key(inbox);
        invocation
    }

    async fn run(&self, script: &ScriptInvocation<'_>) -> Result<Vec<Value>, StoreError> {
        match self.link.invoke(script).await.map_err(unavailable)? {
            Value::Array(parts) => Ok(parts),
            _ => Err(garbled("the script gave no answer")),
        }
    }

    fn durable(&self) -> i32 {
        i32::from(self.link.is_durable())
    }
}

#[async_trait]
impl ClientDirectory for RedisClients {
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let mut script = self.invocation(&self.scripts.claim, &claim.client_id);
        script
            .arg(written(&claim.place))
            .arg(&claim.place.node)
            .arg(claim.proof.as_deref().unwrap_or_default())
            .arg(claim.subject.as_deref().unwrap_or_default())
            .arg(&claim.fresh)
            .arg(i32::from(claim.force))
            .arg(millis(claim.ttl))
            .arg(self.durable());
        let answer = self.run(&script).await?;
        let stale = |value: &Value| number(value) == Some(1);
        match (answer.first().and_then(text), answer.get(1..)) {
            (Some("fresh"), Some([at])) => Ok(Claimed::Fresh { stale: stale(at) }),
            (Some("others"), _) => Ok(Claimed::Others),
            (Some("refused"), _) => Ok(Claimed::Refused),
            (Some("held"), Some([at])) => place(at)
                .map(Claimed::Held)
                .ok_or_else(|| garbled("a client's place cannot be read")),
            (Some("resumed"), Some([at, rest @ ..])) => Ok(Claimed::Resumed {
                kept: kept(rest)?,
                stale: stale(at),
            }),
            _ => Err(garbled("the script gave an answer of another kind")),
        }
    }

    async fn write(&self, standing: &ClientStanding) -> Result<ClientWritten, StoreError> {
        let mut script = self.invocation(&self.scripts.stand, &standing.client_id);
        script
            .arg(written(&standing.place))
            .arg(match standing.state {
                ClientState::Connected => "connected",
                ClientState::Away => "away",
                ClientState::Gone => "gone",
            })
            .arg(&standing.token)
            .arg(standing.subject.as_deref().unwrap_or_default())
            .arg(&standing.record)
            .arg(standing.seen)
            .arg(standing.head)
            .arg(millis(standing.ttl))
            .arg(self.durable());
        let answer = self.run(&script).await?;
        match (
            answer.first().and_then(text),
            answer.get(1).and_then(number),
        ) {
            (Some("kept"), Some(head)) => Ok(ClientWritten::Kept(head)),
            (Some("moved"), _) => Ok(ClientWritten::Moved),
            (Some("forgotten"), _) => Ok(ClientWritten::Forgotten),
            _ => Err(garbled("the script gave an answer of another kind")),
        }
    }

    async fn forget(&self, client_id: &ClientId) -> Result<Option<Option<Place>>, StoreError> {
        let script = self.invocation(&self.scripts.forget, client_id);
        let answer = self.run(&script).await?;
        Ok(answer.first().map(place))
    }

    async fn find(&self, client_id: &ClientId) -> Result<Option<Option<Place>>, StoreError> {
        let (client, _) = self.keys.client(client_id);
        let mut get = redis::cmd("HMGET");
        get.arg(client).arg("o").arg("t");
        let found: Vec<Value> = self.link.query(&get).await.map_err(unavailable)?;
        match found.as_slice() {
            [at, token] if text(token).is_some() => Ok(Some(place(at))),
            _ => Ok(None),
        }
    }

    async fn send(
        &self,
        client_id: &ClientId,
        message: &str,
        max_messages: u64,
        max_bytes: usize,
    ) -> Result<Option<(u64, Option<Place>)>, StoreError> {
        let mut script = self.invocation(&self.scripts.send, client_id);
        script
            .arg(message)
            .arg(max_messages)
            .arg(max_bytes)
            .arg(self.durable())
            .arg(fastrand::u64(..));
        let answer = self.run(&script).await?;
        match answer.as_slice() {
            [] => Ok(None),
            [at, owner] => {
                let at = number(at).ok_or_else(|| garbled("a message has no number"))?;
                Ok(Some((at, place(owner))))
            }
            _ => Err(garbled("the script gave an answer of another kind")),
        }
    }

    async fn inbox(
        &self,
        client_id: &ClientId,
        after: u64,
    ) -> Result<Vec<InboxMessage>, StoreError> {
        let (_, inbox) = self.keys.client(client_id);
        let mut script = self.scripts.inbox.prepare_invoke();
        script.key(inbox).arg(after);
        messages(&Value::Array(self.run(&script).await?))
    }
}
