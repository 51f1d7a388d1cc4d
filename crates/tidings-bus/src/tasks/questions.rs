//! Questions of tasks: their answers and their expiry.
//!
//! A question is open while the task's state has it among its `pending_inputs`. The state
//! therefore decides which answer is the first, on every node and after a restart. This module
//! keeps two more things, which follow from the state: the time of the next expiry, and the
//! tasks with open questions.

use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::{
    InputOutcome, InputRequired, ItemId, Json, NewEvent, Payload, PendingInput, TaskId,
    TaskSnapshot, Timestamp,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::bus::EventBus;
use crate::deliver::delivery::Delivery;
use crate::ledger::Account;
use crate::publish::append::{Prepared, PublishError, Published};
use crate::shared::Shared;
use crate::store::StoreError;
use crate::tasks::lease::Deadline;
use crate::tasks::task::{Rules, Task};

/// The pause after an expiry that could not be published.
const RETRY: Duration = Duration::from_secs(1);

/// How often the bus asks a shared store for expired questions. A node with the task in memory
/// sees the deadline without asking.
const POLL: Duration = Duration::from_secs(5);

/// The most tasks with expired questions that are taken from a shared store at a time.
const AT_A_TIME: usize = 64;

/// The reason why a bus without a [`SchemaCheck`] takes no question with a schema.
const NO_CHECKER: &str = "this program has no checker of JSON Schemas: set `BusConfig::schemas`, \
                          or ask with `choices`";

/// How often the bus tries to answer a question that changes each time.
const ATTEMPTS: usize = 8;

/// The open questions of a task, as far as the bus needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asking {
    /// Whether a question is open.
    pub(crate) open: bool,
    /// The time of the next expiry, if a question expires.
    pub(crate) until: Option<Timestamp>,
}

impl Asking {
    /// Reads the open questions from a task's state.
    pub(crate) fn of(snapshot: &TaskSnapshot) -> Self {
        let inputs = &snapshot.pending_inputs;
        Self {
            open: !inputs.is_empty(),
            until: inputs.iter().filter_map(|input| input.expires_at).min(),
        }
    }
}

/// Checks values against JSON Schemas.
///
/// A bus without a checker refuses questions with a schema, because it could check no answer.
/// `tidings-node` has a checker. A program that embeds only the bus therefore needs no schema
/// library, and asks with `choices`. A program that checks the answers itself sets a checker that
/// accepts everything.
pub trait SchemaCheck: Send + Sync {
    /// Checks that a question with this schema and these choices can be answered. A question
    /// without choices has an empty list.
    ///
    /// # Errors
    /// Fails if the value is no JSON Schema, if it needs documents from elsewhere, or if a choice
    /// does not fit it. The error contains the reason.
    fn check_schema(&self, schema: &Json, choices: &[Json]) -> Result<(), Unfit>;

    /// Checks that a value fits a schema.
    ///
    /// # Errors
    /// Fails if the value does not fit. The error names the first problems.
    fn check(&self, schema: &Json, value: &Json) -> Result<(), Unfit>;
}

/// The reason why a value does not fit a schema, or a schema cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(Arc<str>);

impl Unfit {
    /// Makes a reason from a text for people.
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self(reason.into())
    }
}

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
            self.shared.check_value(&question, value)?;
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
        open(&state).ok_or_else(|| ended(&state, input_id).into())
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
}

/// Returns the error of an answer to a question that is not open.
fn ended(state: &TaskSnapshot, input_id: &ItemId) -> PublishError {
    let mut ended = state.ended_inputs.iter().rev();
    match ended.find(|input| input.input_id == *input_id) {
        Some(ended) => PublishError::QuestionEnded {
            input_id: input_id.clone(),
            by: ended.by.clone(),
        },
        None if state.status.is_terminal() => PublishError::QuestionDropped {
            input_id: input_id.clone(),
        },
        None => PublishError::NoQuestion {
            input_id: input_id.clone(),
        },
    }
}

fn unfit(question: &PendingInput, reason: Unfit) -> PublishError {
    PublishError::UnfitAnswer {
        input_id: question.input_id.clone(),
        reason,
    }
}

impl EventBus {
    async fn publish_answer(
        &self,
        account: &Account,
        task_id: &TaskId,
        event: NewEvent,
        question: PendingInput,
    ) -> Result<Published, PublishError> {
        let payload = self.shared.read(&event)?;
        let mut prepared = Prepared::of(Some(account), event, payload);
        prepared.question = Some(Box::new(question));
        let published = self.shared.publish_prepared(task_id, prepared).await;
        tokio::task::coop::consume_budget().await;
        published
    }
}

impl Shared {
    /// Checks that a new question's schema can be used, and allows its choices. A node without a checker leaves the check
    /// of the answers to the nodes that have one.
    pub(crate) fn check_schema(&self, payload: &Payload) -> Result<(), PublishError> {
        let Payload::InputRequired(InputRequired {
            schema: Some(schema),
            choices,
            ..
        }) = payload
        else {
            return Ok(());
        };
        match &self.config.schemas {
            Some(schemas) => schemas
                .check_schema(schema, choices.as_deref().unwrap_or_default())
                .map_err(PublishError::Schema),
            None if self.config.broker.is_some() => Ok(()),
            None => Err(PublishError::Schema(Unfit::new(NO_CHECKER))),
        }
    }

    /// Checks that an answer is not null, and one of the choices.
    fn check_choice(question: &PendingInput, value: &Json) -> Result<(), PublishError> {
        if value.as_str() == "null" {
            // In a state, null means that the value was too large to be kept.
            return Err(unfit(question, Unfit::new("null is no answer")));
        }
        if question.offers(value) {
            return Ok(());
        }
        let choices = question.choices.iter().flatten();
        let choices: Vec<_> = choices.map(Json::as_str).collect();
        let text = format!("it is none of the choices: {}", choices.join(", "));
        Err(unfit(question, Unfit::new(text)))
    }

    fn check_value(&self, question: &PendingInput, value: &Json) -> Result<(), PublishError> {
        Self::check_choice(question, value)?;
        let Some(schema) = &question.schema else {
            return Ok(());
        };
        let checked = match &self.config.schemas {
            Some(schemas) => schemas.check(schema, value),
            None => Err(Unfit::new(NO_CHECKER)),
        };
        checked.map_err(|reason| unfit(question, reason))
    }

    /// Decides whether a task's state allows an event that ends a question. An answer must fit an
    /// open question, no matter who publishes it.
    pub(crate) fn check_question(
        &self,
        state: &TaskSnapshot,
        prepared: &Prepared,
    ) -> Result<(), PublishError> {
        let (input_id, value) = match &prepared.payload {
            Payload::InputProvided(input) => (&input.input_id, Some(&input.value)),
            Payload::InputExpired(input) => (&input.input_id, None),
            _ => return Ok(()),
        };
        let mut inputs = state.pending_inputs.iter();
        let open = inputs.find(|input| input.input_id == *input_id);
        let open = open.ok_or_else(|| ended(state, input_id))?;
        let known = prepared.question.as_deref();
        if known.is_some_and(|known| known != open) {
            return Err(PublishError::QuestionChanged {
                input_id: input_id.clone(),
            });
        }
        let Some(value) = value else { return Ok(()) };
        if open
            .expires_at
            .is_some_and(|at| at <= self.config.clock.now())
        {
            return Err(PublishError::QuestionEnded {
                input_id: input_id.clone(),
                by: None,
            });
        }
        match known {
            // The value was checked against this question.
            Some(_) => Ok(()),
            None => self.check_value(open, value),
        }
    }

    /// Schedules the expiry of a task's next question. The caller holds the task's rules, and
    /// calls it whenever the next expiry has changed.
    pub(crate) fn schedule_question(&self, task: &Arc<Task>, rules: &mut Rules) {
        let until = rules.asking().until;
        if until.is_none() && rules.expiry.is_none() {
            return;
        }
        let wait = until.map(|until| {
            let now = self.config.clock.now().as_millis();
            Duration::from_millis(until.as_millis().saturating_sub(now))
        });
        self.schedule_question_in(task, rules, wait);
    }

    fn schedule_question_in(&self, task: &Arc<Task>, rules: &mut Rules, wait: Option<Duration>) {
        let at = wait.and_then(|wait| Instant::now().checked_add(wait));
        let ticket = rules.expiry.take();
        rules.expiry = self
            .leases
            .replace(ticket, at, || Deadline::Question(Arc::downgrade(task)));
    }

    /// Ends the expired questions of a task.
    pub(crate) async fn expire_questions(self: &Arc<Self>, task: &Arc<Task>) {
        let until = {
            let mut rules = task.lock_rules();
            // The deadline has come up.
            rules.expiry = None;
            rules.asking().until
        };
        let Some(until) = until else { return };
        let state = task.snapshot();
        let due = |input: &&PendingInput| input.expires_at.is_some_and(|at| at <= until);
        for question in state.pending_inputs.iter().filter(due) {
            let event = NewEvent::input_expired(&question.input_id);
            // The bus's own events are small and well-formed.
            let Ok(mut prepared) = Prepared::new(event, usize::MAX) else {
                return;
            };
            prepared.question = Some(Box::new(question.clone()));
            match self.publish_prepared(task.id(), prepared).await {
                Ok(_) => {}
                Err(error @ PublishError::Unavailable(_)) => {
                    tracing::warn!(task_id = %task.id(), %error, "the end of a question could not be published yet");
                    let mut rules = task.lock_rules();
                    return self.schedule_question_in(task, &mut rules, Some(RETRY));
                }
                Err(error) => {
                    tracing::debug!(task_id = %task.id(), %error, "a question ended as its time was up");
                }
            }
        }
        let mut rules = task.lock_rules();
        if rules.expiry.is_none() {
            self.schedule_question(task, &mut rules);
        }
    }
}

/// Loads tasks of a shared store with questions that no node watches. Their node has stopped,
/// or needed the memory.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let (Some(store), Some(_)) = (shared.store.clone(), &shared.interest) else {
        return;
    };
    let mut timer = tokio::time::interval(POLL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let Ok(due) = store.due(shared.config.clock.now(), AT_A_TIME).await else {
            // The store reports its own failure.
            continue;
        };
        for task_id in due {
            match shared.fetch(&task_id, None).await {
                Ok(Some(task)) => shared.expire_questions(&task).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%task_id, %error, "a task whose question is over could not be read");
                }
            }
        }
    }
}
