//! Publishes events, and removes tasks.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tidings_protocol::{NewEvent, Offset, TaskId};
use tokio::time::Instant;

use super::EventBus;
use crate::cluster::broker::Announcement;
use crate::cluster::fetch;
use crate::ledger::Account;
use crate::publish::drive;
use crate::publish::error::{PublishError, Published};
use crate::publish::prepared::Prepared;
use crate::store::StoreError;
use crate::tasks::life;
use crate::tasks::trees::read;

impl EventBus {
    /// Publishes one event.
    ///
    /// # Errors
    /// See [`PublishError`]. After `Unavailable` and `Closed`, the store may still have stored
    /// the event. Publish it again with the same `event_id`. After any other error nothing has
    /// changed.
    ///
    /// # Cancel safety
    /// Without a store, the first poll publishes the event. With a store, a dropped future
    /// leaves open whether the event was published. A retry with the same `event_id` is
    /// harmless.
    // No `async fn`: it would move the event once more.
    pub fn publish(
        &self,
        task_id: &TaskId,
        event: NewEvent,
    ) -> impl Future<Output = Result<Published, PublishError>> + Send {
        self.publish_as(None, task_id, event)
    }

    /// Publishes one event as [`publish`](Self::publish) does. If the event declares a task,
    /// `account` pays for the task and for everything that the task will hold.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish).
    pub fn publish_for(
        &self,
        account: &Account,
        task_id: &TaskId,
        event: NewEvent,
    ) -> impl Future<Output = Result<Published, PublishError>> + Send {
        self.publish_as(Some(account), task_id, event)
    }

    async fn publish_as(
        &self,
        account: Option<&Account>,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Published, PublishError> {
        let began = Instant::now();
        let payload = drive::read(&self.shared, &event)?;
        let prepared = Prepared::of(account, event, payload);
        let result = match self.shared.store {
            None => self.publish_alone(task_id, &prepared, began),
            Some(_) => {
                // Boxed, because otherwise a publish in memory would move the large future of a
                // store.
                let through = Box::pin(drive::publish_prepared(&self.shared, task_id, prepared));
                let result = through.await;
                self.shared.counters.timings.publish.note(began.elapsed());
                result
            }
        };
        // A loop of publishes must let other tasks of the runtime run.
        tokio::task::coop::consume_budget().await;
        result
    }

    /// Publishes an event on a bus without a store.
    fn publish_alone(
        &self,
        task_id: &TaskId,
        prepared: &Prepared,
        began: Instant,
    ) -> Result<Published, PublishError> {
        let result = drive::publish_alone(&self.shared, task_id, prepared, began);
        self.shared.counters.timings.publish.note(began.elapsed());
        result
    }

    /// Publishes one event without waiting, from any thread. Use it in `Drop`, in rayon and in
    /// plain threads.
    ///
    /// # Errors
    /// Fails as [`publish`](Self::publish) does. A bus with a store cannot publish without
    /// waiting, and returns `Unavailable`.
    pub fn try_publish(
        &self,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Published, PublishError> {
        let began = Instant::now();
        if self.shared.store.is_some() {
            let cause = "an event goes to the store first: use publish";
            let error = StoreError::Unavailable(cause.into());
            return Err(PublishError::Unavailable(Arc::new(error)));
        }
        let payload = drive::read(&self.shared, &event)?;
        let prepared = Prepared::of(None, event, payload);
        self.publish_alone(task_id, &prepared, began)
    }

    /// Publishes events. Events of one task are published in order. Each event gets its own
    /// answer, at its own place. A refused event does not stop the other events.
    ///
    /// If events go to a store first, they go there together. A batch then takes as long as one
    /// event.
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish), for each event.
    pub async fn publish_batch(
        &self,
        events: Vec<(TaskId, NewEvent)>,
    ) -> Vec<Result<Published, PublishError>> {
        self.publish_batch_as(None, events).await
    }

    /// Publishes events as [`publish_batch`](Self::publish_batch) does. `account` pays for the
    /// tasks that the events declare.
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish), for each event.
    pub async fn publish_batch_for(
        &self,
        account: &Account,
        events: Vec<(TaskId, NewEvent)>,
    ) -> Vec<Result<Published, PublishError>> {
        self.publish_batch_as(Some(account), events).await
    }

    async fn publish_batch_as(
        &self,
        account: Option<&Account>,
        events: Vec<(TaskId, NewEvent)>,
    ) -> Vec<Result<Published, PublishError>> {
        let Some(store) = self.shared.writes_through() else {
            let mut answers = Vec::with_capacity(events.len());
            for (task_id, event) in events {
                answers.push(self.publish_as(account, &task_id, event).await);
            }
            return answers;
        };
        let began = Instant::now();
        let mut answers = Vec::with_capacity(events.len());
        let mut known = HashMap::new();
        let mut tasks: Vec<(TaskId, Vec<usize>, Vec<Arc<Prepared>>)> = Vec::new();
        for (place, (task_id, event)) in events.into_iter().enumerate() {
            // The answer of this event until the store has answered.
            answers.push(Err(PublishError::Closed));
            let prepared = match drive::read(&self.shared, &event) {
                Ok(payload) => {
                    let prepared = Prepared::of(account, event, payload);
                    let checked = read::check_shared_tree(&self.shared, &task_id, &prepared).await;
                    checked.map(|()| prepared)
                }
                Err(refused) => Err(refused),
            };
            match prepared {
                Ok(prepared) => {
                    let task = *known.entry(task_id.clone()).or_insert_with(|| {
                        tasks.push((task_id, Vec::new(), Vec::new()));
                        tasks.len() - 1
                    });
                    let (_, places, events) = &mut tasks[task];
                    places.push(place);
                    events.push(Arc::new(prepared));
                }
                Err(error) => answers[place] = Err(error),
            }
        }
        let publishing = tasks
            .into_iter()
            .map(|(task_id, places, events)| async move {
                let published = drive::publish_all(&self.shared, store, &task_id, events).await;
                places.into_iter().zip(published)
            });
        for (place, published) in join_all(publishing).await.into_iter().flatten() {
            self.shared.counters.timings.publish.note(began.elapsed());
            answers[place] = published;
        }
        answers
    }

    /// Removes a task. Its watchers receive a reset (`removed`). If the task comes back, they
    /// see it from its start. Returns false if the bus did not know the task.
    ///
    /// # Errors
    /// Fails if the store did not confirm the removal. The bus still knows the task, and the
    /// store may have removed it. Remove the task again.
    ///
    /// # Cancel safety
    /// Once the task was found, the removal continues after the future is dropped. The caller
    /// cannot tell whether it has finished.
    pub async fn remove(&self, task_id: &TaskId) -> Result<bool, StoreError> {
        let known = fetch::fetch(&self.shared, task_id, None).await?;
        let Some(task) = known.filter(|task| task.is_declared()) else {
            return Ok(false);
        };
        let shared = Arc::clone(&self.shared);
        let removing = self.shared.to_its_end(async move {
            let task_id = task.id().clone();
            // Held to the end. A publish during the removal would continue the old numbers.
            let turn = task.commit.lock().await;
            if let Some(store) = &shared.store {
                store.remove(&task_id).await?;
            }
            life::discard(&shared, &task);
            drop(turn);
            shared
                .tell_others(Announcement {
                    task_id,
                    epoch: task.epoch(),
                    head: Offset::ZERO,
                })
                .await;
            Ok(true)
        });
        removing.await.unwrap_or_else(|| {
            let cause = "the bus was shut down, or the store panicked";
            Err(StoreError::Unavailable(cause.into()))
        })
    }
}
