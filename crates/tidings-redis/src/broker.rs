//! Receives the events of other nodes through Redis.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use redis::{PushInfo, PushKind, RedisResult, Value};
use tidings_bus::{Announcement, Broker, BrokerError, Interest, Notice, StoredEvent};
use tidings_protocol::{Epoch, Offset, TaskId};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::defaults::{
    BUCKETS, PENDING_NOTICES, PING_INTERVAL, RECHECK_INTERVAL, RESPONSE_TIMEOUT,
};
use crate::link::{Backoff, Connection, PushSender, connect};
use crate::neighbours::RedisNeighbours;
use crate::store::{CONCURRENT, RedisStore, bucket_of, text};
use crate::watched::Watched;

/// The number of channels in one command.
const CHANNELS: usize = 256;

/// The number of tasks that are compared with Redis in one pipeline.
const COMPARED: usize = 256;

/// The broker over Redis: the events of other nodes, and the tasks that this node watches.
///
/// The script that appends an event also publishes it, so [`announce`](Broker::announce) does
/// nothing. A message contains the event. A node that misses a message notices it by the offset
/// of the next one. It also compares its tasks with Redis every few seconds.
pub struct RedisBroker {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<RedisStore>,
    watched: Mutex<Watched>,
    wants_new: AtomicBool,
    wants_children: AtomicBool,
    changed: Notify,
    /// True if notices could not be sent to the bus.
    lost: AtomicBool,
    echo: String,
    neighbours: Arc<RedisNeighbours>,
    stop: CancellationToken,
}

impl std::fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBroker").finish_non_exhaustive()
    }
}

impl RedisBroker {
    pub(crate) fn new(
        store: Arc<RedisStore>,
        neighbours: Arc<RedisNeighbours>,
        stop: CancellationToken,
    ) -> Self {
        let echo = store.keys.echo(neighbours.id());
        Self {
            inner: Arc::new(Inner {
                store,
                watched: Mutex::default(),
                wants_new: AtomicBool::new(false),
                wants_children: AtomicBool::new(false),
                changed: Notify::new(),
                lost: AtomicBool::new(false),
                echo,
                neighbours,
                stop,
            }),
        }
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn announce(&self, _: Announcement) -> Result<(), BrokerError> {
        // The script that stored the event has published it.
        Ok(())
    }

    fn notices(&self) -> mpsc::Receiver<Notice> {
        let (to, receiver) = mpsc::channel(PENDING_NOTICES);
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            let stop = inner.stop.clone();
            tokio::select! {
                () = inner.listen(&to) => {}
                () = stop.cancelled() => {}
                () = to.closed() => {}
            }
        });
        receiver
    }

    fn interest(&self) -> Option<Arc<dyn Interest>> {
        Some(Arc::clone(&self.inner) as Arc<dyn Interest>)
    }
}

#[async_trait]
impl Interest for Inner {
    fn watch(&self, task_id: &TaskId) {
        if self.watched().watch(task_id) {
            self.changed.notify_one();
        }
    }

    fn unwatch(&self, task_id: &TaskId) {
        if self.watched().unwatch(task_id) {
            self.changed.notify_one();
        }
    }

    fn is_watching(&self, task_id: &TaskId) -> bool {
        self.watched().is_live(task_id)
    }

    fn watch_new(&self, wanted: bool) {
        if self.wants_new.swap(wanted, Ordering::SeqCst) != wanted {
            self.changed.notify_one();
        }
    }

    fn watch_children(&self, wanted: bool) {
        if self.wants_children.swap(wanted, Ordering::SeqCst) != wanted {
            self.changed.notify_one();
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, BrokerError> {
        let ids = self.store.ids(prefix, after, limit).await;
        ids.map_err(|error| BrokerError(error.into()))
    }
}

/// The life of one connection.
struct Session<'a> {
    inner: &'a Inner,
    connection: Connection,
    to: &'a mpsc::Sender<Notice>,
    hears_new: bool,
}

/// The connection is broken.
struct Broken;

impl Inner {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Listens while it is polled, over one connection after another.
    async fn listen(&self, to: &mpsc::Sender<Notice>) {
        let mut backoff = Backoff::new();
        loop {
            let (sender, mut pushes) = mpsc::channel(PENDING_NOTICES);
            let overflown = Arc::new(AtomicBool::new(false));
            let full = Arc::clone(&overflown);
            let sender: PushSender = Arc::new(move |push: PushInfo| match sender.try_send(push) {
                Err(mpsc::error::TrySendError::Closed(_)) => Err(()),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    full.store(true, Ordering::Relaxed);
                    Ok(())
                }
                Ok(()) => Ok(()),
            });
            match connect(self.store.link.config(), Some(sender)).await {
                Ok(connection) => {
                    let mut session = Session {
                        inner: self,
                        connection,
                        to,
                        hears_new: false,
                    };
                    let started = Instant::now();
                    // The session ends only when the connection is broken.
                    let _: Result<(), Broken> = session.run(&mut pushes, &overflown).await;
                    self.store.link.set_hearing(false);
                    self.watched().disconnected();
                    if started.elapsed() > 4 * PING_INTERVAL {
                        backoff = Backoff::new();
                    }
                }
                Err(error) => tracing::debug!(%error, "no connection for messages"),
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }
}

impl Session<'_> {
    async fn run(
        &mut self,
        pushes: &mut mpsc::Receiver<PushInfo>,
        overflown: &AtomicBool,
    ) -> Result<(), Broken> {
        let echo = self.inner.echo.clone();
        let mail = self.inner.neighbours.mailbox().to_owned();
        for channel in [echo, mail] {
            self.subscribe(&[channel]).await.map_err(|_| Broken)?;
        }
        self.follow().await?;
        // Notices may have been lost while there was no connection.
        self.send(Notice::Lost);
        self.inner.neighbours.missed();
        self.inner.store.link.set_hearing(true);
        let mut heard = Instant::now();
        let mut ping = tokio::time::interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut recheck = tokio::time::interval(RECHECK_INTERVAL);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                push = pushes.recv() => {
                    let Some(push) = push else { return Err(Broken) };
                    if self.take(&push, &mut heard)? {
                        self.inner.changed.notify_one();
                    }
                }
                () = self.inner.changed.notified() => self.follow().await?,
                _ = ping.tick() => {
                    if heard.elapsed() > PING_INTERVAL + RESPONSE_TIMEOUT {
                        return Err(Broken);
                    }
                    self.send_echo();
                    if overflown.swap(false, Ordering::Relaxed) {
                        self.inner.lost.store(true, Ordering::Relaxed);
                    }
                    if self.inner.lost.swap(false, Ordering::Relaxed) {
                        self.send(Notice::Lost);
                        self.inner.neighbours.missed();
                    }
                }
                _ = recheck.tick() => self.recheck().await,
            }
        }
    }

    fn send(&self, notice: Notice) {
        if self.to.try_send(notice).is_err() {
            self.inner.lost.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a message to this node's own channel. If it arrives, messages come through.
    fn send_echo(&self) {
        let store = Arc::clone(&self.inner.store);
        let echo = self.inner.echo.clone();
        let command = store.publish;
        tokio::spawn(async move {
            let mut publish = redis::cmd(command);
            publish.arg(&echo).arg("");
            let said = store.link.query::<Value>(&publish);
            // If the message was not sent, it does not arrive, and the session notices that.
            let _ = said.await;
        });
    }

    async fn subscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match &mut self.connection {
            Connection::Server(server) => server.subscribe(channels).await,
            Connection::Cluster(cluster) => cluster.ssubscribe(channels).await,
        }
    }

    async fn unsubscribe(&mut self, channels: &[String]) -> RedisResult<()> {
        match &mut self.connection {
            Connection::Server(server) => server.unsubscribe(channels).await,
            Connection::Cluster(cluster) => cluster.sunsubscribe(channels).await,
        }
    }

    /// Groups tasks, because in a cluster the channels of one command must lie in one slot.
    fn grouped(&self, tasks: Vec<TaskId>) -> Vec<Vec<TaskId>> {
        if matches!(self.connection, Connection::Server(_)) {
            return tasks.chunks(CHANNELS).map(<[_]>::to_vec).collect();
        }
        let mut buckets: BTreeMap<u16, Vec<TaskId>> = BTreeMap::new();
        for task_id in tasks {
            buckets
                .entry(bucket_of(&task_id))
                .or_default()
                .push(task_id);
        }
        let groups = buckets.into_values();
        groups
            .flat_map(|tasks| {
                tasks
                    .chunks(CHANNELS)
                    .map(<[_]>::to_vec)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Subscribes to the channels of watched tasks, and to no others.
    async fn follow(&mut self) -> Result<(), Broken> {
        self.follow_new().await?;
        let changes = self.inner.watched().changes();
        for task_id in changes.look {
            self.send(Notice::Look(task_id));
        }
        for tasks in self.grouped(changes.subscribe) {
            let channels = self.channels(&tasks);
            match self.subscribe(&channels).await {
                Ok(()) => {
                    self.inner.watched().subscribed(&tasks);
                    for task_id in tasks {
                        self.send(Notice::Look(task_id));
                    }
                }
                Err(error) => self.failed(tasks, &error)?,
            }
        }
        for tasks in self.grouped(changes.unsubscribe) {
            let channels = self.channels(&tasks);
            match self.unsubscribe(&channels).await {
                Ok(()) => self.inner.watched().unsubscribed(&tasks),
                Err(error) => self.failed(tasks, &error)?,
            }
        }
        Ok(())
    }

    /// Handles a failed command. One shard of a cluster may be away while the others work. The
    /// next look at everything tries the tasks of that shard again.
    fn failed(&self, tasks: Vec<TaskId>, error: &redis::RedisError) -> Result<(), Broken> {
        tracing::debug!(%error, "a subscription could not be changed");
        if matches!(self.connection, Connection::Server(_)) {
            return Err(Broken);
        }
        self.inner.watched().again(tasks);
        Ok(())
    }

    fn channels(&self, tasks: &[TaskId]) -> Vec<String> {
        let keys = &self.inner.store.keys;
        tasks.iter().map(|task_id| keys.channel(task_id)).collect()
    }

    async fn follow_new(&mut self) -> Result<(), Broken> {
        // The same channels carry new tasks and new children.
        let wanted = self.inner.wants_new.load(Ordering::SeqCst)
            || self.inner.wants_children.load(Ordering::SeqCst);
        if wanted == self.hears_new {
            return Ok(());
        }
        let keys = &self.inner.store.keys;
        let channels: Vec<_> = (0..BUCKETS).map(|bucket| keys.appeared(bucket)).collect();
        let groups: Vec<_> = match self.connection {
            Connection::Server(_) => vec![channels],
            Connection::Cluster(_) => channels.into_iter().map(|channel| vec![channel]).collect(),
        };
        for group in groups {
            let done = if wanted {
                self.subscribe(&group).await
            } else {
                self.unsubscribe(&group).await
            };
            if let Err(error) = done {
                tracing::debug!(%error, "new tasks are not heard of yet");
                return match self.connection {
                    Connection::Server(_) => Err(Broken),
                    Connection::Cluster(_) => Ok(()),
                };
            }
        }
        self.hears_new = wanted;
        if wanted {
            self.send(Notice::Lost);
        }
        Ok(())
    }

    /// Handles a message from Redis. Returns true if the subscriptions need a look.
    fn take(&mut self, push: &PushInfo, heard: &mut Instant) -> Result<bool, Broken> {
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                self.take_message(&push.data, heard);
                Ok(false)
            }
            PushKind::Disconnection => match self.connection {
                Connection::Server(_) => Err(Broken),
                Connection::Cluster(_) => {
                    // One of the servers disconnected, and Redis does not say which one.
                    self.inner.watched().disconnected();
                    self.inner.neighbours.missed();
                    self.hears_new = false;
                    Ok(true)
                }
            },
            // A slot has moved to another server.
            PushKind::SUnsubscribe => {
                let channel = push.data.first().and_then(text);
                let task = channel.and_then(|channel| self.inner.store.keys.task_of(channel));
                if let Some(task_id) = task {
                    self.inner.watched().unsubscribed(&[task_id]);
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn take_message(&self, data: &[Value], heard: &mut Instant) {
        let [channel, message] = data else { return };
        let (Some(channel), Some(message)) = (text(channel), text(message)) else {
            return;
        };
        if channel == self.inner.echo {
            *heard = Instant::now();
            return;
        }
        if channel == self.inner.neighbours.mailbox() {
            self.inner.neighbours.take(message);
            return;
        }
        let Some(task_id) = self.inner.store.keys.task_of(channel) else {
            if let Some((child, parent)) = message.split_once(' ')
                && let (Ok(child), Ok(parent)) = (child.parse(), parent.parse())
            {
                self.send(Notice::Child { parent, child });
                return;
            }
            // The message contains the id of a new task.
            if let Ok(task_id) = message.parse() {
                self.send(Notice::Look(task_id));
            }
            return;
        };
        let mut parts = message.splitn(3, ' ');
        let epoch = parts.next().unwrap_or_default();
        let head = parts.next().and_then(|head| head.parse().ok()).unwrap_or(0);
        self.inner.watched().saw(&task_id, epoch, head);
        let event = parts.next().and_then(|json| {
            Some(Notice::Event {
                task_id: task_id.clone(),
                epoch: Epoch::new(epoch).ok()?,
                event: StoredEvent {
                    offset: Offset::new(head).ok()?,
                    json: json.as_bytes().into(),
                },
            })
        });
        self.send(event.unwrap_or(Notice::Look(task_id)));
    }

    /// Compares watched tasks with Redis. The message of a task's newest event may have been
    /// dropped, without a later message that would reveal it.
    async fn recheck(&mut self) {
        let live = self.inner.watched().live();
        let store = &self.inner.store;
        let pages: Vec<_> = live.chunks(COMPARED).map(<[_]>::to_vec).collect();
        let mut answers = stream::iter(pages)
            .map(|page| async move {
                let heads = stream::iter(page).map(|task_id| async move {
                    let mut get = redis::cmd("HMGET");
                    get.arg(store.keys.of(&task_id).meta).arg("e").arg("n");
                    let got: RedisResult<(Option<String>, Option<u64>)> =
                        store.link.query(&get).await;
                    (task_id, got)
                });
                heads.buffer_unordered(CONCURRENT).collect::<Vec<_>>().await
            })
            .buffer_unordered(1);
        while let Some(page) = answers.next().await {
            for (task_id, got) in page {
                let Ok((epoch, head)) = got else { return };
                let (epoch, head) = (epoch.unwrap_or_default(), head.unwrap_or(0));
                if self.inner.watched().saw(&task_id, &epoch, head) {
                    self.send(Notice::Look(task_id));
                }
            }
        }
    }
}
