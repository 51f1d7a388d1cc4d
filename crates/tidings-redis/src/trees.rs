//! Trees of tasks in Redis, see `docs/decisions/014-trees.md`.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{RedisResult, Script, Value};
use tidings_bus::{Counted, Families, Kin, StoreError, Sums};
use tidings_protocol::{TaskId, TaskStatus};
use tokio::sync::{Mutex, mpsc};

use crate::config::Deployment;
use crate::defaults::BUCKETS;
use crate::keys::bucket;
use crate::store::{CONCURRENT, RedisStore, garbled, number, text, unavailable};

/// Writes the entry of a child in its parent's counts, as the script of trees reads it.
pub(crate) fn counted(kin: &Kin) -> String {
    let status = match kin.status {
        TaskStatus::Pending => 0,
        TaskStatus::Running => 1,
        TaskStatus::Completed => 2,
        TaskStatus::Failed => 3,
        TaskStatus::Cancelled => 4,
    };
    format!("{status} {} {}", kin.weight, kin.done())
}

/// The most parents that wait for the bus to look at them. The marks in Redis remember the rest.
const MAX_ARRIVALS: usize = 1_024;

/// The tasks that this node has created after their children.
pub(crate) struct Arrivals {
    to: mpsc::Sender<TaskId>,
    from: Mutex<mpsc::Receiver<TaskId>>,
}

impl Default for Arrivals {
    fn default() -> Self {
        let (to, from) = mpsc::channel(MAX_ARRIVALS);
        let from = Mutex::new(from);
        Self { to, from }
    }
}

impl Arrivals {
    pub(crate) fn note(&self, parent: TaskId) {
        // If there is no room, the bus finds the mark in Redis later.
        let _ = self.to.try_send(parent);
    }
}

#[async_trait]
impl Families for RedisStore {
    async fn children(
        &self,
        parent: &TaskId,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, StoreError> {
        let from = match after {
            Some(after) if after.as_str() >= prefix => format!("({parent}/{after}"),
            _ => format!("[{parent}/{prefix}"),
        };
        // Ids are ASCII, so this bound lies after all ids with the prefix.
        let to = format!("({parent}/{prefix}\u{7f}");
        let pages: RedisResult<Vec<Vec<String>>> = stream::iter(0..BUCKETS)
            .map(|bucket| {
                let mut range = redis::cmd("ZRANGE");
                range.arg(self.keys.brood(bucket)).arg(&from).arg(&to);
                range.arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
                async move { self.link.query(&range).await }
            })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await;
        let pages = pages.map_err(unavailable)?;
        let mut children: Vec<TaskId> = pages
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.split_once('/')?.1.parse().ok())
            .collect();
        children.sort_unstable();
        children.truncate(limit);
        Ok(children)
    }

    async fn counted(&self, parent: &TaskId) -> Result<Counted, StoreError> {
        let arguments = [self.keys.prefix(), parent.as_str()];
        let parts = self.over_buckets(&self.scripts.family, &arguments).await?;
        let mut counted = Counted::default();
        for part in parts.iter().flat_map(array) {
            let read = read_part(part, &mut counted);
            read.ok_or_else(|| garbled("sums of children cannot be read"))?;
        }
        Ok(counted)
    }

    async fn shown(&self, parent: &TaskId, counted: &Counted) -> Result<(), StoreError> {
        for (bucket, mark) in &counted.marks {
            let mut script = self.scripts.seen.prepare_invoke();
            script
                .key(self.keys.stir(*bucket))
                .key(self.keys.kids(*bucket, parent))
                .arg(parent.as_str())
                .arg(mark);
            let _: Value = self.link.invoke(&script).await.map_err(unavailable)?;
        }
        Ok(())
    }

    async fn awaits(&self, parent: &TaskId, counted: &Counted) -> Result<bool, StoreError> {
        let mut script = self.scripts.awaits.prepare_invoke();
        script
            .key(self.keys.of(parent).meta)
            .key(self.keys.parents(bucket(parent.as_str())))
            .arg(parent.as_str())
            .arg(i32::from(counted.sums.total() > 0));
        let there: Value = self.link.invoke(&script).await.map_err(unavailable)?;
        Ok(number(&there) == Some(1))
    }

    async fn arrived(&self) -> TaskId {
        let mut arrivals = self.arrivals.from.lock().await;
        match arrivals.recv().await {
            Some(parent) => parent,
            // The store has the sender, so the channel stays open.
            None => std::future::pending().await,
        }
    }

    async fn stirred(&self, ahead: Duration, limit: usize) -> Result<Vec<TaskId>, StoreError> {
        let (mut stirred, changed) = self.poll(ahead, limit).await?;
        if !changed.is_empty() {
            // Recorded last. If the work stops before, it is done again.
            let prefix = self.keys.prefix();
            self.over_buckets(&self.scripts.stir_all, &[prefix]).await?;
            for (bucket, reign) in changed {
                let mut set = redis::cmd("SET");
                set.arg(self.keys.reign(bucket)).arg(reign);
                let _: Value = self.link.query(&set).await.map_err(unavailable)?;
            }
            (stirred, _) = self.poll(ahead, limit).await?;
        }
        Ok(stirred)
    }
}

/// The parents that need a look, and the buckets with another reign of their server.
type Polled = (Vec<TaskId>, Vec<(u16, String)>);

impl RedisStore {
    /// Runs a script over all buckets: at once if they are on one server, and one by one in a
    /// cluster.
    pub(crate) async fn over_buckets(
        &self,
        script: &Script,
        arguments: &[&str],
    ) -> Result<Vec<Value>, StoreError> {
        let buckets: Vec<u16> = (0..BUCKETS).collect();
        let at_a_time = match self.link.config().deployment {
            Deployment::Cluster(_) => 1,
            _ => buckets.len(),
        };
        let chunks: Vec<_> = buckets.chunks(at_a_time).map(<[_]>::to_vec).collect();
        let answers: RedisResult<Vec<Value>> = stream::iter(chunks)
            .map(|buckets| {
                let mut script = script.prepare_invoke();
                script.key(self.keys.stir(buckets[0]));
                for argument in arguments {
                    script.arg(*argument);
                }
                for bucket in buckets {
                    script.arg(format!("{bucket:02x}"));
                }
                async move { self.link.invoke(&script).await }
            })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await;
        answers.map_err(unavailable)
    }

    async fn poll(&self, ahead: Duration, limit: usize) -> Result<Polled, StoreError> {
        let (ahead, most) = (ahead.as_micros().to_string(), limit.to_string());
        let arguments = [self.keys.prefix(), &ahead, &most];
        let answers = self.over_buckets(&self.scripts.stirred, &arguments).await?;
        let (mut parents, mut changed) = (BTreeSet::new(), Vec::new());
        for answer in &answers {
            let [due, reigns] = array(answer) else {
                return Err(garbled("parents to look at cannot be read"));
            };
            let due = array(due).iter().filter_map(text);
            parents.extend(due.filter_map(|id| id.parse::<TaskId>().ok()));
            for pair in array(reigns).chunks_exact(2) {
                let bucket = text(&pair[0]).and_then(|at| u16::from_str_radix(at, 16).ok());
                let reign = text(&pair[1]).map(str::to_owned);
                changed.extend(bucket.zip(reign));
            }
        }
        Ok((parents.into_iter().take(limit).collect(), changed))
    }
}

pub(crate) fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(parts) => parts,
        _ => &[],
    }
}

/// Adds the sums of one bucket: `[bucket, n0, n1, n2, n3, n4, w, d, mark]`.
fn read_part(part: &Value, counted: &mut Counted) -> Option<()> {
    let [bucket, sums @ .., mark] = array(part) else {
        return None;
    };
    let [counts @ .., weight, done] = sums else {
        return None;
    };
    let bucket = u16::from_str_radix(text(bucket)?, 16).ok()?;
    let counts: Option<Vec<_>> = counts.iter().map(number).collect();
    let mut sums = Sums::default();
    sums.counts = counts?.try_into().ok()?;
    sums.weight = number(weight)?;
    sums.done = u128::from(number(done)?);
    counted.sums.merge(&sums);
    let mark = text(mark)?;
    if !mark.is_empty() {
        counted.marks.push((bucket, mark.to_owned()));
    }
    Some(())
}
