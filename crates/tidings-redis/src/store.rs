//! Tasks in Redis, shared by all nodes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{RedisError, RedisResult, ScriptInvocation, Value};
use serde::Deserialize;
use serde_json::value::RawValue;
use tidings_bus::blocks::{cut_out, kept_part};
use tidings_bus::{
    Append, Families, Kin, OutputChange, OutputChanges, OutputExtent, Store, StoreError,
    StoredEvent, StoredRules, StoredTask, StoredText,
};
use tidings_protocol::{
    Epoch, Event, EventType, ItemId, Offset, Payload, Position, TaskId, TaskSnapshot, Timestamp,
};

use crate::config::Deployment;
use crate::defaults::{BUCKETS, LEASE_CLAIM};
use crate::keys::{Keys, bucket};
use crate::link::Link;
use crate::script::Scripts;
use crate::trees::{self, Arrivals};

/// The number of entries that are read at a time.
const PAGE: usize = 128;

/// How long a task is kept after its last question expires, so that a node that was away can
/// publish the expiry.
const GRACE: Duration = Duration::from_secs(60 * 60);

/// The size in bytes up to which a snapshot goes along with each append. The rest of an append is
/// about as large, and a task with such a snapshot is read without its events.
const SMALL_SNAPSHOT: usize = 1_024;

/// The most tasks that are noted because their next append must have a snapshot.
const MAX_WANTED: usize = 10_000;

/// The most commands at the same time, for one request.
pub(crate) const CONCURRENT: usize = 32;

/// Tasks, offsets, history, snapshots and event ids in Redis.
///
/// An append is one script. It checks the epoch and the offset, adds to the task's stream,
/// trims the stream, keeps the snapshot and publishes the events. The epoch of a task changes
/// if its server may have lost data, see the crate's page.
pub struct RedisStore {
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) scripts: Scripts,
    pub(crate) publish: &'static str,
    wanted: Mutex<Wanted>,
    pub(crate) arrivals: Arrivals,
}

/// Tasks whose next append must have a snapshot, because many events came after the last one.
#[derive(Default)]
struct Wanted(HashSet<TaskId>);

impl Wanted {
    fn note(&mut self, task_id: &TaskId) {
        if self.0.len() >= MAX_WANTED {
            // Redis asks for them again.
            self.0.clear();
        }
        self.0.insert(task_id.clone());
    }

    fn take(&mut self, task_id: &TaskId) -> bool {
        self.0.remove(task_id)
    }
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

/// The fields of an event that the store reads.
#[derive(Deserialize)]
struct Keyed<'a> {
    #[serde(borrow, default)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// The fields of an `output_delta`'s data that the store reads.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    output_id: Cow<'a, str>,
}

impl Keyed<'_> {
    /// Returns whether the event begins the task's lease anew. A stall begins the time until the
    /// loss.
    fn renews_lease(&self) -> bool {
        let kind = self.event_type.parse::<EventType>();
        kind.is_ok_and(|kind| kind == EventType::TaskStalled || kind.is_sign_of_life())
    }

    /// Returns the output that the event adds text to. Empty for other events.
    fn output(&self) -> String {
        let data = self.data.filter(|_| self.event_type == "output_delta");
        let delta = data.map(|data| serde_json::from_str::<Delta<'_>>(data.get()));
        let delta = delta.and_then(Result::ok);
        delta.map_or_else(String::new, |delta| delta.output_id.into_owned())
    }
}

/// Adds the output changes of an append to the script's arguments.
fn add_outputs(script: &mut ScriptInvocation<'_>, changes: &OutputChanges) {
    script
        .arg(i32::from(changes.only))
        .arg(changes.forgotten.len());
    for id in &changes.forgotten {
        script.arg(id.as_str());
    }
    for OutputChange { output, from, text } in &changes.changed {
        script
            .arg(output.output_id.as_str())
            .arg(output.began.get())
            .arg(output.start)
            .arg(output.length)
            .arg(i32::from(output.complete))
            .arg(*from)
            .arg(&text[..]);
    }
}

/// Reads `began start length complete`, as the script writes it.
fn extent(id: &str, part: &str) -> Option<OutputExtent> {
    let mut parts = part.split(' ').map(|part| part.parse::<u64>().ok());
    let mut next = || parts.next().flatten();
    Some(OutputExtent {
        output_id: id.parse().ok()?,
        began: Offset::new(next()?).ok()?,
        start: next()?,
        length: next()?,
        complete: next()? > 0,
    })
}

/// Reads `[id, part, id, part, …]`.
fn extents(value: &Value) -> Option<Vec<OutputExtent>> {
    let Value::Array(parts) = value else {
        return None;
    };
    let pairs = parts.chunks_exact(2);
    pairs
        .map(|pair| extent(text(&pair[0])?, text(&pair[1])?))
        .collect()
}

impl RedisStore {
    pub(crate) fn new(link: Link) -> Self {
        // In a cluster, a plain message goes to every server. A sharded message stays with the
        // servers of its slot.
        let publish = match link.config().deployment {
            Deployment::Cluster(_) => "SPUBLISH",
            _ => "PUBLISH",
        };
        Self {
            keys: Keys::new(&link.config().prefix),
            scripts: Scripts::new(),
            publish,
            wanted: Mutex::default(),
            arrivals: Arrivals::default(),
            link,
        }
    }

    /// Returns the ids of tasks after `after` that begin with `prefix`, in order.
    pub(crate) async fn ids(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> RedisResult<Vec<TaskId>> {
        self.ids_in(Keys::index, prefix, after, limit).await
    }

    /// Returns the ids of one index, as [`ids`](Self::ids) does.
    async fn ids_in(
        &self,
        index: fn(&Keys, u16) -> String,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> RedisResult<Vec<TaskId>> {
        let from = match after {
            Some(after) if after.as_str() >= prefix => format!("({after}"),
            _ => format!("[{prefix}"),
        };
        // Ids are ASCII, so this bound lies after all ids with the prefix.
        let to = format!("({prefix}\u{7f}");
        let pages: Vec<Vec<String>> = stream::iter(0..BUCKETS)
            .map(|bucket| {
                let mut range = redis::cmd("ZRANGE");
                range.arg(index(&self.keys, bucket)).arg(&from).arg(&to);
                range.arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
                async move { self.link.query(&range).await }
            })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        let mut ids: Vec<TaskId> = pages
            .into_iter()
            .flatten()
            .filter_map(|id| id.parse().ok())
            .collect();
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }

    /// Runs the script of an append. If `state` is false, the task's snapshot in Redis stays.
    async fn run_append(&self, append: &Append, state: bool) -> Result<Vec<Value>, StoreError> {
        let config = self.link.config();
        let first = append.events.first();
        let keys = self.keys.of(&append.task_id);
        let snapshot = match state {
            true => serde_json::to_vec(append.snapshot.as_ref())
                .map_err(|error| StoreError::Unavailable(error.into()))?,
            false => Vec::new(),
        };
        let ended = append.snapshot.status.is_terminal();
        let keep_task = if ended {
            config.pinned_ttl
        } else {
            config.idle_ttl
        };
        // A task with an open question must not expire before the question.
        let inputs = &append.snapshot.pending_inputs;
        let until = inputs.iter().filter_map(|input| input.expires_at);
        let (first_until, last_until) = (until.clone().min(), until.max());
        let now = Timestamp::from(std::time::SystemTime::now()).as_millis();
        let keep_task = last_until.map_or(keep_task, |last| {
            let left = Duration::from_millis(last.as_millis().saturating_sub(now));
            keep_task.max(left + config.idle_ttl.min(GRACE))
        });
        let keep_log = if ended {
            config.finished_events_ttl.min(keep_task)
        } else {
            keep_task
        };
        let kin = Kin::of(&append.snapshot);
        let keyed = append.events.iter();
        let keyed = keyed.map(|event| serde_json::from_slice::<Keyed<'_>>(&event.json).ok());
        let keyed: Vec<_> = keyed.collect();
        let says_children = keyed
            .iter()
            .flatten()
            .any(|keyed| keyed.event_type == "children_update");
        let heard = keyed.iter().flatten().any(Keyed::renews_lease);
        let lease_ms = append.rules.as_ref().and_then(|rules| rules.lease_ms);
        let rules = append.rules.as_deref().map(serde_json::to_string);
        let rules = rules.transpose();
        let rules = rules.map_err(|error| StoreError::Unavailable(error.into()))?;
        let rules = rules.unwrap_or_default();
        let attempt = fastrand::u64(..).to_string();
        let fresh = fresh_epoch();
        let mut script = self.scripts.append.prepare_invoke();
        script
            .key(&keys.meta)
            .key(&keys.log)
            .key(&keys.index)
            .key(&keys.ids)
            .key(&keys.outputs)
            .key(&keys.texts)
            .key(&keys.asking)
            .key(&keys.due)
            .key(&keys.leases)
            .arg(append.epoch.as_str())
            .arg(first.map_or(0, |event| event.offset.get()))
            .arg(snapshot)
            .arg(attempt)
            .arg(config.max_events)
            .arg(config.max_bytes)
            .arg(millis(keep_task))
            .arg(millis(keep_log))
            .arg(&fresh)
            .arg(i32::from(self.link.is_durable()))
            .arg(self.publish)
            .arg(&keys.channel)
            .arg(&keys.appeared)
            .arg(append.task_id.as_str())
            .arg(config.idempotency_ids)
            .arg(millis(config.idempotency_ttl))
            .arg(i32::from(!inputs.is_empty()))
            .arg(first_until.map_or(String::new(), |at| at.as_millis().to_string()))
            .arg(kin.as_ref().map_or("", |kin| kin.parent.as_str()))
            .arg(kin.as_ref().map_or_else(String::new, trees::counted))
            .arg(i32::from(says_children))
            .arg(rules)
            .arg(lease_ms.map_or_else(String::new, |lease_ms| lease_ms.to_string()))
            .arg(match (ended, heard) {
                (true, _) => "over",
                (false, true) => "renewed",
                (false, false) => "kept",
            })
            .arg(append.events.len());
        for (event, keyed) in append.events.iter().zip(keyed) {
            let output = keyed.as_ref().map(Keyed::output).unwrap_or_default();
            let id = keyed.and_then(|keyed| keyed.event_id).unwrap_or_default();
            script.arg(id.as_ref()).arg(output).arg(&event.json[..]);
        }
        if let Some(changes) = &append.outputs {
            add_outputs(&mut script, changes);
        }
        match self.link.invoke(&script).await.map_err(unavailable)? {
            Value::Array(answer) => Ok(answer),
            _ => Err(garbled("the script gave no answer")),
        }
    }

    fn lock_wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates an epoch that no task has had.
fn fresh_epoch() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}

pub(crate) fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

pub(crate) fn garbled(what: &'static str) -> StoreError {
    StoreError::Unavailable(what.into())
}

pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

pub(crate) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        other => text(other)?.parse().ok(),
    }
}

fn offset(value: &Value) -> Option<Offset> {
    Offset::new(number(value)?).ok()
}

/// Reads `[id, [j, json, …]]`, as streams contain it.
fn entry(value: &Value) -> Option<StoredEvent> {
    let Value::Array(parts) = value else {
        return None;
    };
    let [id, Value::Array(fields)] = parts.as_slice() else {
        return None;
    };
    let (number, _) = text(id)?.split_once('-')?;
    let Value::BulkString(json) = fields.get(1)? else {
        return None;
    };
    Some(StoredEvent {
        offset: Offset::new(number.parse().ok()?).ok()?,
        json: json.as_slice().into(),
    })
}

#[async_trait]
impl Store for RedisStore {
    /// Returns all tasks, for tests and tools. A bus that shares its store with others reads a
    /// task on demand.
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        let ids = self.ids("", None, usize::MAX >> 1).await;
        let found: Vec<_> = stream::iter(ids.map_err(unavailable)?)
            .map(|id| async move { self.find(&id).await })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        let Some(first) = append.events.first().map(|event| event.offset) else {
            return Ok(());
        };
        let wanted = self.lock_wanted().take(&append.task_id);
        // Redis keeps a snapshot and the events after it. A large snapshot with each event would be
        // most of what Redis and its replicas must write.
        let is_small = |bytes| bytes <= SMALL_SNAPSHOT;
        let state = wanted
            || first == Offset::FIRST
            || append.snapshot.status.is_terminal()
            || append.snapshot.known_bytes().is_some_and(is_small);
        let mut answer = self.run_append(&append, state).await?;
        if answer.first().and_then(text) == Some("state") {
            answer = self.run_append(&append, true).await?;
        }
        match (
            answer.first().and_then(text),
            answer.get(1).and_then(number),
        ) {
            (Some("ok"), wanted) => {
                if wanted == Some(1) {
                    self.lock_wanted().note(&append.task_id);
                }
                if answer.get(2).and_then(number) == Some(1) {
                    self.arrivals.note(append.task_id.clone());
                }
                Ok(())
            }
            (Some("conflict"), Some(expected)) => Err(StoreError::Conflict {
                expected: Offset::new(expected).unwrap_or(Offset::MAX),
                got: first,
            }),
            (Some("duplicate"), Some(offset)) => Err(StoreError::Duplicate {
                offset: Offset::new(offset).unwrap_or(Offset::MAX),
            }),
            _ => Err(garbled("the script gave an answer of another kind")),
        }
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        let keys = self.keys.of(task_id);
        let mut script = self.scripts.find.prepare_invoke();
        script
            .key(&keys.meta)
            .key(&keys.log)
            .key(&keys.index)
            .key(&keys.outputs)
            .key(&keys.asking)
            .key(&keys.due)
            .key(&keys.leases)
            .arg(fresh_epoch())
            .arg(i32::from(self.link.is_durable()))
            .arg(self.publish)
            .arg(&keys.channel)
            .arg(task_id.as_str());
        let answer: Value = self.link.invoke(&script).await.map_err(unavailable)?;
        let Value::Array(parts) = answer else {
            return Err(garbled("the script gave no answer"));
        };
        let [epoch, head, first, snapshot, outputs, rules, events] = parts.as_slice() else {
            return Ok(None);
        };
        let read = || {
            let epoch = Epoch::new(text(epoch)?).ok()?;
            let (head, first) = (offset(head)?, offset(first)?);
            let mut snapshot: TaskSnapshot = serde_json::from_str(text(snapshot)?).ok()?;
            for event in trees::array(events) {
                let event: Event = serde_json::from_str(text(event)?).ok()?;
                let payload = Payload::of(&event).ok()?;
                snapshot.apply(&payload, event.offset, event.timestamp);
            }
            // The epoch may have changed since the snapshot was taken.
            snapshot.epoch = epoch;
            snapshot.offset = head;
            let rules = match text(rules)? {
                "" => StoredRules::default(),
                json => serde_json::from_str(json).ok()?,
            };
            Some(StoredTask {
                snapshot: Arc::new(snapshot),
                first,
                rules,
                outputs: extents(outputs)?,
            })
        };
        read()
            .map(Some)
            .ok_or_else(|| garbled("the task in Redis cannot be read"))
    }

    async fn asking(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        let ids = self.ids_in(Keys::asking, prefix, after, limit).await;
        ids.map_err(unavailable)
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        let pages: Vec<Vec<String>> = stream::iter(0..BUCKETS)
            .map(|bucket| {
                let mut range = redis::cmd("ZRANGE");
                range.arg(self.keys.due(bucket)).arg("-inf");
                range.arg(now.as_millis()).arg("BYSCORE");
                range.arg("LIMIT").arg(0).arg(limit);
                async move { self.link.query(&range).await }
            })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await
            .map_err(unavailable)?;
        let ids = pages.into_iter().flatten();
        Ok(ids.filter_map(|id| id.parse().ok()).take(limit).collect())
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let log = self.keys.of(task_id).log;
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        loop {
            let mut range = redis::cmd("XRANGE");
            range
                .arg(&log)
                .arg(next.get())
                .arg("+")
                .arg("COUNT")
                .arg(PAGE);
            let page: Vec<Value> = self.link.query(&range).await.map_err(unavailable)?;
            let full = page.len() == PAGE;
            for value in &page {
                let event = entry(value).ok_or_else(|| garbled("an event cannot be read"))?;
                bytes += event.json.len();
                if !events.is_empty() && bytes > max_bytes {
                    return Ok(events);
                }
                next = event.offset.next();
                events.push(event);
            }
            if !full {
                return Ok(events);
            }
        }
    }

    async fn read_output(
        &self,
        task_id: &TaskId,
        output_id: &ItemId,
        wanted: Range<u64>,
    ) -> Result<Option<StoredText>, StoreError> {
        let keys = self.keys.of(task_id);
        let mut script = self.scripts.output.prepare_invoke();
        script
            .key(&keys.outputs)
            .key(&keys.texts)
            .arg(output_id.as_str())
            .arg(wanted.start)
            .arg(wanted.end);
        let answer: Value = self.link.invoke(&script).await.map_err(unavailable)?;
        let Value::Array(parts) = answer else {
            return Err(garbled("the script gave no answer"));
        };
        let Some((part, blocks)) = parts.split_first() else {
            return Ok(None);
        };
        let read = || {
            let output = extent(output_id.as_str(), text(part)?)?;
            let part = kept_part(&output, wanted);
            let from = part.start;
            let blocks = blocks.iter().map(|block| match block {
                Value::BulkString(bytes) => bytes.clone(),
                _ => Vec::new(),
            });
            let bytes = cut_out(part, blocks)?;
            Some(StoredText { from, bytes })
        };
        read()
            .map(Some)
            .ok_or_else(|| garbled("an output in Redis cannot be read"))
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        let keys = self.keys.of(task_id);
        let mut script = self.scripts.trim.prepare_invoke();
        script.key(&keys.meta).key(&keys.log).arg(first.get());
        self.link
            .invoke(&script)
            .await
            .map(drop)
            .map_err(unavailable)
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        let keys = self.keys.of(task_id);
        let mut script = self.scripts.remove.prepare_invoke();
        script
            .key(&keys.meta)
            .key(&keys.log)
            .key(&keys.index)
            .key(&keys.ids)
            .key(&keys.outputs)
            .key(&keys.texts)
            .key(&keys.asking)
            .key(&keys.due)
            .key(&keys.leases)
            .arg(self.publish)
            .arg(&keys.channel)
            .arg(task_id.as_str());
        self.link
            .invoke(&script)
            .await
            .map(drop)
            .map_err(unavailable)
    }

    fn families(&self) -> Option<&dyn Families> {
        Some(self)
    }

    fn keeps_leases(&self) -> bool {
        true
    }

    async fn overdue(&self, limit: usize) -> Result<Vec<(TaskId, Position)>, StoreError> {
        let (claim, most) = (LEASE_CLAIM.as_micros().to_string(), limit.to_string());
        let arguments = [self.keys.prefix(), &claim, &most];
        let answers = self.over_buckets(&self.scripts.overdue, &arguments).await?;
        let tasks = answers.iter().flat_map(|answer| {
            let (tasks, _) = trees::array(answer).as_chunks::<3>();
            tasks.iter().filter_map(|[task_id, epoch, head]| {
                let epoch = Epoch::new(text(epoch)?).ok()?;
                let offset = offset(head)?;
                Some((text(task_id)?.parse().ok()?, Position { epoch, offset }))
            })
        });
        Ok(tasks.collect())
    }

    fn is_available(&self) -> bool {
        self.link.is_available()
    }
}

pub(crate) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Returns the bucket of a task, for code that groups tasks by bucket.
pub(crate) fn bucket_of(task_id: &TaskId) -> u16 {
    bucket(task_id.as_str())
}
