//! Questions of tasks: how they are answered, and how they expire.
//!
//! A question is open while the task's state has it among its `pending_inputs`. So
//! the state decides which answer is the first, where offsets are assigned: on every
//! node, and after a restart. What is kept here beside it follows from the state: when
//! the next question expires, and which tasks have one.

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

/// The pause after an expiry could not be published.
const RETRY: Duration = Duration::from_secs(1);

/// How often a shared store is asked for questions whose time is up. Nodes that have
/// a task in memory see its deadline without asking.
const POLL: Duration = Duration::from_secs(5);

/// Tasks taken from a shared store at a time because a question's time is up.
const AT_A_TIME: usize = 64;

/// Attempts to answer a question that is asked anew each time.
const ATTEMPTS: usize = 8;

/// The open questions of a task, as far as the bus has to look after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Asking {
    /// Whether a question is open.
    pub(crate) open: bool,
    /// When the first of them expires, if one does.
    pub(crate) until: Option<Timestamp>,
}

impl Asking {
    /// Reads what a task's state says of its questions.
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
/// A bus without one refuses answers to questions that have a schema:
/// `tidings-node` has one, and so a program that embeds only the bus does not pull in
/// a schema library.
pub trait SchemaCheck: Send + Sync {
    /// Returns why a schema cannot be used, if it cannot.
    ///
    /// # Errors
    /// The value is no JSON Schema, or needs documents from elsewhere.
    fn check_schema(&self, schema: &Json) -> Result<(), Unfit>;

    /// Returns why a value does not fit a schema, if it does not.
    ///
    /// # Errors
    /// The first things that are wrong with the value.
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

/// Why a question was not answered. Nothing has changed after any of these, except
/// where [`PublishError`] says that this is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// There is no such task.
    #[error("there is no task {0}")]
    NoTask(TaskId),
    /// The value does not answer the question: correct it.
    #[error("the value does not answer `{input_id}`")]
    Unfit {
        /// The question.
        input_id: ItemId,
        /// The reason why the value does not fit.
        #[source]
        reason: Unfit,
    },
    /// The question is not open, or the answer could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl EventBus {
    /// Answers an open question of a task, as `by`. The first answer wins.
    ///
    /// # Errors
    /// See [`AnswerError`]. A question that has an answer already gives
    /// [`PublishError::QuestionEnded`], which says who gave it.
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
                // Asked anew since: the value may not fit the new question.
                Err(PublishError::QuestionChanged { .. }) if attempts > 1 => attempts -= 1,
                published => return Ok(published?),
            }
        }
    }

    /// Returns an open question of a task.
    ///
    /// # Errors
    /// The task does not exist, or the question is not open: see [`AnswerError`].
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
        // What this node has may lie behind what others have published.
        let state = match (&self.shared.store, &self.shared.interest) {
            (Some(store), Some(_)) => {
                let stored = store.find(task_id).await.map_err(unavailable)?;
                stored.map(|stored| stored.snapshot)
            }
            _ => found,
        };
        let state = state.ok_or_else(|| AnswerError::NoTask(task_id.clone()))?;
        open(&state).ok_or_else(|| ended(&state, input_id).into())
    }

    /// Waits until a question of a task has ended, whether this program has asked it
    /// or one before it. A question that is not known yet is waited for, as long as
    /// the task runs.
    ///
    /// # Errors
    /// The bus was shut down.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn input_outcome(
        &self,
        task_id: &TaskId,
        input_id: &ItemId,
    ) -> Result<InputOutcome, PublishError> {
        // Subscribed first: what comes after the state that is read comes here.
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
                // Its end may be among what did not come.
                Some(_) => self.known_outcome(task_id, input_id),
            };
        }
    }

    /// Returns how a question has ended, as far as the task's state knows: none if it
    /// is open, or may yet be asked.
    fn known_outcome(&self, task_id: &TaskId, input_id: &ItemId) -> Option<InputOutcome> {
        let state = self.snapshot(task_id)?;
        let ended = state.status.is_terminal();
        InputOutcome::of(&state, input_id)
            .filter(|outcome| ended || *outcome != InputOutcome::Dropped)
    }

    /// States of up to `limit` tasks that have an open question, in order of their
    /// ids, after `after`, whose id begins with `prefix`.
    ///
    /// # Errors
    /// The store cannot be read.
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

/// The error of an answer to a question that is not open.
fn ended(state: &TaskSnapshot, input_id: &ItemId) -> PublishError {
    let mut ended = state.ended_inputs.iter().rev();
    match ended.find(|input| input.input_id == *input_id) {
        Some(ended) => PublishError::QuestionEnded {
            input_id: input_id.clone(),
            by: ended.by.clone(),
        },
        None => PublishError::NoQuestion {
            input_id: input_id.clone(),
        },
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
        let mut prepared = self.shared.prepare(event)?;
        prepared.account = Some(account.clone());
        prepared.question = Some(Box::new(question));
        let published = self.shared.publish_prepared(task_id, prepared).await;
        tokio::task::coop::consume_budget().await;
        published
    }
}

impl Shared {
    /// Checks that a new question's schema can be used.
    pub(crate) fn check_schema(&self, payload: &Payload) -> Result<(), PublishError> {
        let Payload::InputRequired(InputRequired {
            schema: Some(schema),
            ..
        }) = payload
        else {
            return Ok(());
        };
        match &self.config.schemas {
            Some(schemas) => schemas.check_schema(schema).map_err(PublishError::Schema),
            None => Ok(()),
        }
    }

    fn check_value(&self, question: &PendingInput, value: &Json) -> Result<(), AnswerError> {
        let unfit = |reason| AnswerError::Unfit {
            input_id: question.input_id.clone(),
            reason,
        };
        if !question.offers(value) {
            let choices = question.choices.iter().flatten();
            let choices: Vec<_> = choices.map(Json::as_str).collect();
            let text = format!("it is none of the choices: {}", choices.join(", "));
            return Err(unfit(Unfit::new(text)));
        }
        let Some(schema) = &question.schema else {
            return Ok(());
        };
        match &self.config.schemas {
            Some(schemas) => schemas.check(schema, value).map_err(unfit),
            None => Err(unfit(Unfit::new(
                "the question has a schema, and this program checks none: set \
                 BusConfig::schemas",
            ))),
        }
    }

    /// Decides whether a task's state allows an event that ends a question.
    pub(crate) fn check_question(
        &self,
        state: &TaskSnapshot,
        prepared: &Prepared,
    ) -> Result<(), PublishError> {
        let (input_id, answers) = match &prepared.payload {
            Payload::InputProvided(input) => (&input.input_id, true),
            Payload::InputExpired(input) => (&input.input_id, false),
            _ => return Ok(()),
        };
        let mut inputs = state.pending_inputs.iter();
        let open = inputs.find(|input| input.input_id == *input_id);
        match (open, prepared.question.as_deref()) {
            (Some(open), Some(question)) if open != question => {
                Err(PublishError::QuestionChanged {
                    input_id: input_id.clone(),
                })
            }
            (Some(open), _) => {
                let over = open.expires_at.filter(|at| *at <= self.config.clock.now());
                match over {
                    Some(_) if answers => Err(PublishError::QuestionEnded {
                        input_id: input_id.clone(),
                        by: None,
                    }),
                    _ => Ok(()),
                }
            }
            (None, question) => match ended(state, input_id) {
                // A producer may report an answer to a question that it never put
                // here.
                PublishError::NoQuestion { .. } if question.is_none() => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Has the next question of a task come up when it expires; called with the
    /// task's rules whenever that has changed.
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

    /// Ends the questions of a task whose time is up.
    pub(crate) async fn expire_questions(self: &Arc<Self>, task: &Arc<Task>) {
        let until = {
            let mut rules = task.lock_rules();
            // It has come up.
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

/// Brings tasks of a shared store here whose questions no node looks after: the node
/// that did has stopped, or needed the memory.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let (Some(store), Some(_)) = (shared.store.clone(), &shared.interest) else {
        return;
    };
    let mut timer = tokio::time::interval(POLL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = stop.cancelled() => return,
        }
        let Ok(due) = store.due(shared.config.clock.now(), AT_A_TIME).await else {
            // The store says itself what is wrong with it.
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
