//! Answers to the questions of tasks.

use std::sync::Arc;

use tidings_protocol::{InputOutcome, ItemId, Json, NewEvent, PendingInput, TaskId, TaskSnapshot};

use super::EventBus;
use crate::deliver::delivery::Delivery;
use crate::ledger::Account;
use crate::publish::drive;
use crate::publish::error::{PublishError, Published};
use crate::publish::prepared::Prepared;
use crate::store::StoreError;
use crate::tasks::questions;

/// How often the bus tries to answer a question that changes each time.
const ATTEMPTS: usize = 8;

/// The reason why a question was not answered. Nothing has changed, except where
/// [`PublishError`] says that the outcome is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// There is no such task.
    #[error("there is no task {0}")]
    NoTask(TaskId),
    /// The value does not fit, the question is not open, or the answer could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl EventBus {
    /// Answers an open question of a task, as `by`. The first answer wins.
    ///
    /// # Errors
    /// See [`AnswerError`]. For a question that has an answer already, the error is
    /// [`PublishError::QuestionEnded`]. It names the subject that gave the answer.
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish).
    pub async fn answer(
        &self,
        task_id: &TaskId,
        input_id: &ItemId,
        value: &Json,
        by: &str,
    ) -> Result<Published, AnswerError> {
        self.answer_for(self.ledger().own(), task_id, input_id, value, by)
            .await
    }

    /// Answers as [`answer`](Self::answer) does, charged to `account`.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish).
    pub async fn answer_for(
        &self,
        account: &Account,
        task_id: &TaskId,
        input_id: &ItemId,
        value: &Json,
        by: &str,
    ) -> Result<Published, AnswerError> {
        let mut attempts = ATTEMPTS;
        loop {
            let question = self.question(task_id, input_id).await?;
            questions::check_value(&self.shared.config, &question, value)?;
            let event = NewEvent::input_provided(input_id, &value.to_value(), by);
            match self.publish_answer(account, task_id, event, question).await {
                // The question has changed since. The value may not fit the new question.
                Err(PublishError::QuestionChanged { .. }) if attempts > 1 => attempts -= 1,
                published => return Ok(published?),
            }
        }
    }

    /// Returns an open question of a task.
    ///
    /// # Errors
    /// Fails if the task does not exist, or if the question is not open. See [`AnswerError`].
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn question(
        &self,
        task_id: &TaskId,
        input_id: &ItemId,
    ) -> Result<PendingInput, AnswerError> {
        let unavailable = |error| PublishError::Unavailable(Arc::new(error));
        let found = self.find(task_id).await.map_err(unavailable)?;
        let open = |state: &TaskSnapshot| {
            let mut inputs = state.pending_inputs.iter();
            inputs.find(|input| input.input_id == *input_id).cloned()
        };
        if let Some(question) = found.as_deref().and_then(open) {
            return Ok(question);
        }
        // Other nodes may have published events that this node does not have yet.
        let state = match (&self.shared.store, &self.shared.config.broker) {
            (Some(store), Some(_)) => {
                let stored = store.find(task_id).await.map_err(unavailable)?;
                stored.map(|stored| stored.snapshot)
            }
            _ => found,
        };
        let state = state.ok_or_else(|| AnswerError::NoTask(task_id.clone()))?;
        open(&state).ok_or_else(|| questions::ended(&state, input_id).into())
    }

    /// Waits until a question of a task has ended, no matter which program has asked it. If the
    /// question is not known yet, the call waits for it while the task runs.
    ///
    /// # Errors
    /// Fails if the bus was shut down.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn input_outcome(
        &self,
        task_id: &TaskId,
        input_id: &ItemId,
    ) -> Result<InputOutcome, PublishError> {
        // Subscribe first. Events after the state that is read below then arrive here.
        let mut events = self.subscribe(task_id);
        let mut known = self.known_outcome(task_id, input_id);
        loop {
            if let Some(outcome) = known {
                return Ok(outcome);
            }
            known = match events.recv().await {
                None => return Err(PublishError::Closed),
                Some(Delivery::Event(record)) => match record.decode() {
                    Ok(event) if event.event_type.is_terminal() => Some(InputOutcome::Dropped),
                    Ok(event) => InputOutcome::told(&event, input_id),
                    Err(_) => None,
                },
                // The end of the question may be among the missing events.
                Some(_) => self.known_outcome(task_id, input_id),
            };
        }
    }

    /// Returns how a question has ended, if the task's state knows it. Returns `None` if the
    /// question is open, or may still be asked.
    fn known_outcome(&self, task_id: &TaskId, input_id: &ItemId) -> Option<InputOutcome> {
        let state = self.snapshot(task_id)?;
        let ended = state.status.is_terminal();
        InputOutcome::of(&state, input_id)
            .filter(|outcome| ended || *outcome != InputOutcome::Dropped)
    }

    /// Returns the states of up to `limit` tasks with an open question, in order of their ids,
    /// after `after`. The ids begin with `prefix`.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn find_asking(
        &self,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        let shared = &self.shared;
        let (Some(store), Some(_)) = (&shared.store, &shared.interest) else {
            // A task with an open question does not leave memory.
            let tasks = shared.listing.asking(prefix, after, limit);
            return Ok(tasks.iter().map(|task| task.snapshot()).collect());
        };
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let wanted = limit - found.len();
            let page = store.asking(prefix, after.as_ref(), wanted).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            for task_id in page {
                found.extend(store.find(&task_id).await?.map(|stored| stored.snapshot));
            }
        }
        Ok(found)
    }

    async fn publish_answer(
        &self,
        account: &Account,
        task_id: &TaskId,
        event: NewEvent,
        question: PendingInput,
    ) -> Result<Published, PublishError> {
        let payload = drive::read(&self.shared, &event)?;
        let mut prepared = Prepared::of(Some(account), event, payload);
        prepared.question = Some(Box::new(question));
        let published = drive::publish_prepared(&self.shared, task_id, prepared).await;
        tokio::task::coop::consume_budget().await;
        published
    }
}
