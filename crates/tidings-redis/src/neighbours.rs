//! Messages between nodes, over Redis's channels.
//!
//! Each node has its own channel. A message is one line that contains its kind, and its
//! content:
//!
//! * `ask NODE NUMBER` a question, with the node that needs the answer
//! * `answer NODE NUMBER` the answer of that node
//! * `tell` a message without an answer
//!
//! Messages may be lost, so a node waits for an answer only for a limited time.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use redis::{RedisResult, Script, Value};
use tidings_bus::{Heard, Neighbours, NodeAnswer};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::defaults::{MAIL_BYTES, NODE_HEARTBEAT, NODE_TTL, PENDING_MAIL};
use crate::keys::Keys;
use crate::link::Link;
use crate::script;
use crate::store::{CONCURRENT, millis, text};

/// The most questions at the same time. Their answers are held until all have arrived.
const QUESTIONS: usize = 16;

/// The longest time for an answer. Later no node waits for it.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The nodes that are alive, by heartbeats, and the messages between them.
pub struct RedisNeighbours {
    id: String,
    name: String,
    mailbox: String,
    link: Link,
    keys: Keys,
    nodes: Script,
    publish: &'static str,
    /// The nodes that were alive when Redis was last asked, with their names.
    known: Mutex<BTreeMap<String, String>>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>,
    next: AtomicU64,
    questions: Semaphore,
    heard: Mutex<Option<mpsc::Sender<Heard>>>,
    joined: Notify,
    /// The number of messages that could not be passed on.
    lost: AtomicU64,
}

impl std::fmt::Debug for RedisNeighbours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisNeighbours")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RedisNeighbours {
    pub(crate) fn start(link: Link, publish: &'static str, stop: CancellationToken) -> Arc<Self> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let keys = Keys::new(&link.config().prefix);
        let name = link.config().node_name.clone();
        let neighbours = Arc::new(Self {
            name: name.unwrap_or_else(|| format!("node-{}", &id[..8])),
            mailbox: keys.mail(&id),
            id,
            keys,
            nodes: script::nodes(),
            link,
            publish,
            known: Mutex::default(),
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            questions: Semaphore::new(QUESTIONS),
            heard: Mutex::default(),
            joined: Notify::new(),
            lost: AtomicU64::new(0),
        });
        let me = Arc::clone(&neighbours);
        tokio::spawn(async move {
            tokio::select! {
                () = me.live() => {}
                () = stop.cancelled() => {}
            }
        });
        neighbours
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn mailbox(&self) -> &str {
        &self.mailbox
    }

    /// Sends the heartbeat of this node again and again, once a caller receives its messages.
    async fn live(&self) {
        loop {
            let joined = lock(&self.heard).is_some();
            if joined && let Err(error) = self.look(true).await {
                tracing::debug!(%error, "the other nodes do not hear of this one");
            }
            if self.lost.swap(0, Ordering::Relaxed) > 0 {
                self.missed();
            }
            tokio::select! {
                () = tokio::time::sleep(NODE_HEARTBEAT) => {}
                () = self.joined.notified() => {}
            }
        }
    }

    /// Asks Redis for the nodes that are alive. Also sends the heartbeat of this node if
    /// `alive`.
    async fn look(&self, alive: bool) -> RedisResult<()> {
        let (heard, names) = self.keys.nodes();
        let mut script = self.nodes.prepare_invoke();
        script
            .key(heard)
            .key(names)
            .arg(if alive { self.id.as_str() } else { "" })
            .arg(&self.name)
            .arg(millis(NODE_TTL));
        if let Value::Array(parts) = self.link.invoke(&script).await? {
            let pairs = parts.chunks_exact(2);
            let read =
                pairs.filter_map(|pair| Some((text(&pair[0])?.into(), text(&pair[1])?.into())));
            *lock(&self.known) = read.collect();
        }
        Ok(())
    }

    /// Publishes to a node. Returns false if the node certainly did not receive the message.
    async fn post(&self, node: &str, line: &str, content: &[u8]) -> bool {
        let message = [line.as_bytes(), b"\n", content].concat();
        let mut publish = redis::cmd(self.publish);
        publish.arg(self.keys.mail(node)).arg(message);
        match self.link.query::<u64>(&publish).await {
            Ok(heard) => heard > 0,
            Err(error) => {
                tracing::debug!(%error, "nothing can be said to another node");
                false
            }
        }
    }

    fn hand_over(&self, heard: Heard) {
        let to = lock(&self.heard);
        if let Some(to) = to.as_ref()
            && to.try_send(heard).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that a message may have been lost.
    pub(crate) fn missed(&self) {
        self.hand_over(Heard::Lost);
    }

    /// Handles a message from this node's channel.
    pub(crate) fn take(self: &Arc<Self>, message: &str) {
        let Some((line, content)) = message.split_once('\n') else {
            return;
        };
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("tell"), ..) => self.hand_over(Heard::Told(content.into())),
            (Some("answer"), _, Some(number)) => {
                let number = number.parse().unwrap_or(0);
                if let Some(waiting) = lock(&self.waiting).remove(&number) {
                    // The asking caller may have given up.
                    let _ = waiting.send(content.into());
                }
            }
            (Some("ask"), Some(node), Some(number)) => {
                let (answer, answered) = oneshot::channel();
                self.hand_over(Heard::Asked {
                    question: content.into(),
                    answer,
                });
                let me = Arc::clone(self);
                let (node, line) = (node.to_owned(), format!("answer {} {number}", self.id));
                tokio::spawn(async move {
                    if let Ok(Ok(said)) = tokio::time::timeout(ANSWER_LIMIT, answered).await
                        && said.len() <= MAIL_BYTES
                    {
                        me.post(&node, &line, &said).await;
                    }
                });
            }
            _ => {}
        }
    }

    /// Returns one node's answer, if it comes in time.
    async fn answer_of(&self, node: &str, question: &[u8], until: Instant) -> Option<Vec<u8>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(number, sender);
        let line = format!("ask {} {number}", self.id);
        let asked = async {
            if !self.post(node, &line, question).await {
                return None;
            }
            answer.await.ok()
        };
        let answer = tokio::time::timeout_at(until, asked).await.ok().flatten();
        lock(&self.waiting).remove(&number);
        answer
    }
}

#[async_trait]
impl Neighbours for RedisNeighbours {
    fn node(&self) -> &str {
        &self.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn ask(&self, node: Option<&str>, question: &[u8], limit: Duration) -> Vec<NodeAnswer> {
        let until = Instant::now() + limit;
        // A node that has just started must be asked too. Without Redis, the last list names the
        // nodes that do not answer.
        let _ = tokio::time::timeout_at(until, self.look(false)).await;
        let known = lock(&self.known).clone();
        let asked: Vec<(String, String)> = match node {
            Some(node) => {
                let name = known.get(node).map_or(node, String::as_str);
                vec![(node.to_owned(), name.to_owned())]
            }
            None => known.into_iter().filter(|(id, _)| *id != self.id).collect(),
        };
        let turn = tokio::time::timeout_at(until, self.questions.acquire()).await;
        let has_turn = turn.is_ok();
        let mut answers: Vec<NodeAnswer> = stream::iter(asked)
            .map(|(node, name)| async move {
                let answer = match has_turn {
                    true => self.answer_of(&node, question, until).await,
                    false => None,
                };
                NodeAnswer { name, answer }
            })
            .buffer_unordered(CONCURRENT)
            .collect()
            .await;
        answers.sort_by(|one, other| one.name.cmp(&other.name));
        answers
    }

    async fn tell(&self, node: &str, message: &[u8]) {
        self.post(node, "tell", message).await;
    }

    fn heard(&self) -> mpsc::Receiver<Heard> {
        let (to, receiver) = mpsc::channel(PENDING_MAIL);
        *lock(&self.heard) = Some(to);
        self.joined.notify_one();
        receiver
    }
}
