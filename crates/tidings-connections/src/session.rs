//! What a client's messages do.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_bus::watch::Start;
use tidings_bus::{AnswerError, Hold, OverLimit, PublishError, Published};
use tidings_protocol::{
    ClientMessage, ClientRequest, CommandId, ControlMessage, Data, ErrorCode, ItemId, Json, Limits,
    NewEvent, Reference, Since, Target, TaskId, UnsubscribeReason,
};

use crate::auth::{AuthError, Forbidden, NotPublishable, Permission};
use crate::close::CloseReason;
use crate::connection::Connection;
use crate::jobs::{Asked as AskedFor, Job};
use crate::limits::{Limit, Limited, Own};
use crate::subscriptions::{OpeningKind, Source};

/// Answers collected before they are sent.
const ANSWER_BYTES: usize = 16 * 1024;

/// Events published together, at most: their answers wait for the last of them.
const MAX_BATCH: usize = 256;

/// Messages of one connection that are done before others have their turn: some
/// hundred µs of a processor.
const MESSAGES_A_TURN: usize = 64;

/// A request that could not be done.
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    text: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        Self {
            code: error.code(),
            text: chain(&error),
        }
    }
}

impl From<AnswerError> for Refusal {
    fn from(error: AnswerError) -> Self {
        let code = match &error {
            AnswerError::Publish(error) => error.code(),
            AnswerError::NoTask(_) => ErrorCode::TaskNotFound,
            _ => ErrorCode::InvalidEvent,
        };
        Self {
            code,
            text: chain(&error),
        }
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Limited> for Refusal {
    fn from(error: Limited) -> Self {
        Self::new(ErrorCode::RateLimited, error.to_string())
    }
}

impl From<OverLimit> for Refusal {
    fn from(error: OverLimit) -> Self {
        Self::new(ErrorCode::TooManySubscriptions, error.to_string())
    }
}

impl From<Forbidden> for Refusal {
    fn from(error: Forbidden) -> Self {
        Self::new(ErrorCode::Forbidden, error.to_string())
    }
}

impl From<NotPublishable> for Refusal {
    fn from(error: NotPublishable) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// What a message asks for.
enum Asked {
    Publish(Option<Reference>, TaskId, NewEvent),
    Other(ClientMessage),
    /// It may not: the answer.
    Refused(ControlMessage),
}

/// Events that are published together.
#[derive(Default)]
struct Batch {
    events: Vec<(TaskId, NewEvent)>,
    /// How each is to be answered.
    asked: Vec<(Option<Reference>, TaskId)>,
}

/// Answers an accepted event, if its message had a `ref`.
fn ack(
    reference: Option<Reference>,
    task_id: TaskId,
    published: Published,
) -> Option<ControlMessage> {
    Some(ControlMessage::ack(
        Some(reference?),
        task_id,
        published.epoch,
        published.offset,
        published.duplicate,
        published.run,
    ))
}

/// Returns an error with its causes, each behind a colon.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // What the error before it has quoted already is not said twice.
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

impl Connection {
    /// Does what a text message asks for and answers it. Anything malformed is
    /// answered with an error that says what was wrong; the connection lives.
    ///
    /// # Cancel safety
    /// A dropped future leaves open whether a publish took place.
    pub async fn receive(self: &Arc<Self>, text: &str) {
        self.receive_all([text]).await;
    }

    /// Does what messages ask for, in order. Events that follow one another are
    /// published together, and answers go out together: a producer that pipelines
    /// costs one write, and where there is a store one turn of it, for what came in
    /// one read.
    ///
    /// # Cancel safety
    /// As [`receive`](Self::receive).
    pub async fn receive_all<T: AsRef<str>>(
        self: &Arc<Self>,
        messages: impl IntoIterator<Item = T>,
    ) {
        self.receive_translated(messages, |_| Ok(None)).await;
    }

    /// Does what messages of another vocabulary ask for. `translate` gives the
    /// message that asks for the same, or none if it is one of this protocol
    /// already. A message is charged before it is translated.
    ///
    /// # Cancel safety
    /// As [`receive`](Self::receive).
    pub async fn receive_translated<T: AsRef<str>>(
        self: &Arc<Self>,
        messages: impl IntoIterator<Item = T>,
        translate: impl Fn(&str) -> Result<Option<String>, (ErrorCode, String)>,
    ) {
        let mut answers = Vec::new();
        let mut batch = Batch::default();
        for (number, message) in messages.into_iter().enumerate() {
            if number % MESSAGES_A_TURN == MESSAGES_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
            if !self.is_open() {
                return;
            }
            self.count_received();
            match self.take(message.as_ref(), &translate) {
                Asked::Publish(reference, task_id, event) => {
                    batch.asked.push((reference, task_id.clone()));
                    batch.events.push((task_id, event));
                    if batch.events.len() >= MAX_BATCH {
                        self.publish(&mut batch, &mut answers).await;
                    }
                }
                Asked::Other(request) => {
                    self.publish(&mut batch, &mut answers).await;
                    self.handle(request, &mut answers).await;
                }
                Asked::Refused(error) => {
                    self.publish(&mut batch, &mut answers).await;
                    self.encode(&error, &mut answers);
                }
            }
            self.flush_if_large(&mut answers);
        }
        self.publish(&mut batch, &mut answers).await;
        self.flush_answers(&mut answers);
    }

    fn flush_if_large(&self, answers: &mut Vec<u8>) {
        if answers.len() >= ANSWER_BYTES {
            self.flush_answers(answers);
        }
    }

    fn flush_answers(&self, answers: &mut Vec<u8>) {
        if !answers.is_empty() {
            let mut out = self.lock();
            if out.is_open() {
                self.write_control(&mut out, answers);
            }
            answers.clear();
        }
    }

    /// Returns what a message asks for, if it may be asked. The message is charged
    /// before it is decoded.
    fn take(
        &self,
        text: &str,
        translate: impl Fn(&str) -> Result<Option<String>, (ErrorCode, String)>,
    ) -> Asked {
        let max = self.manager().config.max_message_bytes;
        let limits = Limits::default().with_max_message_bytes(max);
        if let Err(limited) = self.throttle(text.len()) {
            // Decoded for its `ref` alone. Refusals are counted, so this ends soon.
            let reference = match ClientMessage::decode(text, &limits) {
                Ok(message) => message.reference,
                Err(error) => error.reference,
            };
            return Asked::Refused(self.refuse(reference, limited.into()));
        }
        let translated = match translate(text) {
            Ok(translated) => translated,
            Err((code, text)) => {
                return Asked::Refused(self.refuse(None, Refusal::new(code, text)));
            }
        };
        let text = translated.as_deref().unwrap_or(text);
        let message = match ClientMessage::decode(text, &limits) {
            Ok(message) => message,
            Err(error) => {
                let refusal = Refusal::new(error.code, error.to_string());
                return Asked::Refused(self.refuse(error.reference, refusal));
            }
        };
        let reference = message.reference.clone();
        let ClientRequest::Publish { task_id, mut event } = message.kind else {
            return Asked::Other(message);
        };
        match self.may_publish(task_id, &mut event) {
            Ok(task_id) => Asked::Publish(reference, task_id, event),
            Err(refusal) => Asked::Refused(self.refuse(reference, refusal)),
        }
    }

    /// Counts a refusal and returns the answer. A client whose messages are refused
    /// again and again is let go.
    fn refuse(&self, reference: Option<Reference>, refusal: Refusal) -> ControlMessage {
        self.manager().counters.error(refusal.code);
        let limiter = &self.manager().limiter;
        let who = self.access().who(self.remote_addr());
        limiter.refused(who.as_ref());
        if limiter.heeds(who.as_ref()).is_err() {
            self.close(CloseReason::RateLimited);
        }
        if refusal.code == ErrorCode::Forbidden {
            self.manager()
                .counters
                .forbidden
                .fetch_add(1, Ordering::Relaxed);
        }
        ControlMessage::error(reference, refusal.code, refusal.text)
    }

    /// Does what a message asks for that does not publish, and answers it.
    async fn handle(self: &Arc<Self>, message: ClientMessage, answers: &mut Vec<u8>) {
        let reference = message.reference;
        let answer = match message.kind {
            ClientRequest::Ping => Ok(Some(ControlMessage::pong(reference.clone()))),
            ClientRequest::Command {
                task_id,
                command,
                args,
            } => {
                self.command(reference.clone(), task_id, &command, args)
                    .await
            }
            ClientRequest::Answer {
                task_id,
                input_id,
                value,
            } => {
                self.answer(reference.clone(), task_id, &input_id, &value)
                    .await
            }
            ClientRequest::Subscribe {
                target,
                since,
                history,
            } => {
                // A subscription says itself that it holds, after what came before.
                self.flush_answers(answers);
                let fetched = self.fetch(target.as_ref(), since.as_ref()).await;
                fetched
                    .and_then(|()| self.subscribe(reference.clone(), target, since, history))
                    .map(|()| None)
            }
            ClientRequest::Unsubscribe { target } => {
                // What is asked of a pattern is answered in its turn, after what
                // was asked before.
                self.flush_answers(answers);
                self.unsubscribe(reference.clone(), target)
            }
            ClientRequest::Authenticate { token } => self.renew(&token).await.map(|()| None),
            _ => Err(Refusal::new(
                ErrorCode::UnknownType,
                "this server does not know this type",
            )),
        };
        let answer = answer.unwrap_or_else(|refusal| Some(self.refuse(reference, refusal)));
        if let Some(answer) = answer {
            self.encode(&answer, answers);
        }
    }

    fn task_or_path(&self, task_id: Option<TaskId>) -> Result<TaskId, Refusal> {
        task_id.or_else(|| self.path_task().cloned()).ok_or_else(|| {
            Refusal::new(
                ErrorCode::InvalidMessage,
                "`task_id` is missing: only on /ws/tasks/{task_id} does it default to the path's",
            )
        })
    }

    /// The task that an event goes to, if it may.
    fn may_publish(
        &self,
        task_id: Option<TaskId>,
        event: &mut NewEvent,
    ) -> Result<TaskId, Refusal> {
        let task_id = self.task_or_path(task_id)?;
        let access = self.access();
        access.check_publish(&task_id, event, self.client_id().as_str())?;
        let manager = self.manager();
        manager.note_task(&access, self.remote_addr(), &task_id)?;
        Ok(task_id)
    }

    /// Publishes what was collected, and answers it.
    async fn publish(&self, batch: &mut Batch, answers: &mut Vec<u8>) {
        if batch.events.is_empty() {
            return;
        }
        let events = std::mem::take(&mut batch.events);
        let published = self
            .manager()
            .bus
            .publish_batch_for(&self.account(&self.access()), events)
            .await;
        for ((reference, task_id), published) in batch.asked.drain(..).zip(published) {
            let answer = match published {
                Ok(published) => ack(reference, task_id, published),
                Err(error) => Some(self.refuse(reference, error.into())),
            };
            if let Some(answer) = answer {
                self.encode(&answer, answers);
                self.flush_if_large(answers);
            }
        }
    }

    /// Takes note of a message.
    fn throttle(&self, bytes: usize) -> Result<(), Limited> {
        let limiter = &self.manager().limiter;
        self.own_rates(|rates| rates.messages(1))
            .map_err(|retry_after| limiter.hit_own(Limit::Messages, retry_after))?;
        let who = self.access().who(self.remote_addr());
        limiter.messages(who.clone(), 1)?;
        limiter.bytes(who, bytes)
    }

    /// Asks the rates of this connection, if connections have any.
    fn own_rates(
        &self,
        ask: impl FnOnce(&mut Own) -> Result<(), Duration>,
    ) -> Result<(), Duration> {
        let limiter = &self.manager().limiter;
        if !limiter.has_own() {
            return Ok(());
        }
        let mut out = self.lock();
        ask(out.rates.get_or_insert_with(|| Box::new(limiter.own())))
    }

    /// Takes note of frames that are no message by themselves: pings, pongs, and
    /// fragments. False, and the end of the connection, if there are too many.
    pub fn take_frames(&self, count: usize) -> bool {
        let limiter = &self.manager().limiter;
        let taken = self
            .own_rates(|rates| rates.messages(count))
            .map_err(|retry_after| limiter.hit_own(Limit::Messages, retry_after))
            .and_then(|()| limiter.messages(self.access().who(self.remote_addr()), count));
        if taken.is_err() {
            self.close(CloseReason::RateLimited);
        }
        taken.is_ok()
    }

    /// Takes note of bytes that came in, whatever they are; false, and the end
    /// of the connection, if they are more than it may send.
    pub fn take_bytes(&self, count: usize) -> bool {
        let taken = self.own_rates(|rates| rates.bytes(count));
        if let Err(retry_after) = taken {
            let limiter = &self.manager().limiter;
            limiter.hit_own(Limit::Bytes, retry_after);
            self.close(CloseReason::RateLimited);
        }
        taken.is_ok()
    }

    async fn command(
        &self,
        reference: Option<Reference>,
        task_id: Option<TaskId>,
        command: &str,
        args: Option<Data>,
    ) -> Result<Option<ControlMessage>, Refusal> {
        let task_id = self.task_or_path(task_id)?;
        let access = self.access();
        access.check(Permission::Command, &task_id)?;
        let known = self.manager().bus.find(&task_id).await;
        let known = known.map_err(|error| Refusal::new(ErrorCode::Unavailable, chain(&error)))?;
        if known.is_none() {
            return Err(Refusal::new(
                ErrorCode::TaskNotFound,
                format!("there is no task {task_id} to command"),
            ));
        }
        let by = access
            .subject()
            .map_or(self.client_id().as_str(), |subject| subject);
        let event = NewEvent::command_requested(CommandId::generate(), command, args.as_ref(), by);
        let published = self
            .manager()
            .bus
            .publish_for(&self.account(&access), &task_id, event)
            .await?;
        Ok(ack(reference, task_id, published))
    }

    async fn answer(
        &self,
        reference: Option<Reference>,
        task_id: Option<TaskId>,
        input_id: &ItemId,
        value: &Json,
    ) -> Result<Option<ControlMessage>, Refusal> {
        let task_id = self.task_or_path(task_id)?;
        let access = self.access();
        access.check(Permission::Answer, &task_id)?;
        let by = access
            .subject()
            .map_or(self.client_id().as_str(), |subject| subject);
        let account = self.account(&access);
        let bus = &self.manager().bus;
        let published = bus
            .answer_for(&account, &task_id, input_id, value, by)
            .await?;
        Ok(ack(reference, task_id, published))
    }

    /// Brings what is to be subscribed to here, where nodes share a store.
    async fn fetch(&self, target: Option<&Target>, since: Option<&Since>) -> Result<(), Refusal> {
        let bus = &self.manager().bus;
        if !bus.is_shared() {
            return Ok(());
        }
        let fetched = match (target, self.path_task()) {
            (Some(Target::Pattern(pattern)), _) => bus.fetch_matching(pattern).await,
            (Some(Target::Task(task_id)), _) | (None, Some(task_id)) => {
                if self.access().check(Permission::Watch, task_id).is_err() {
                    // It will be told so.
                    return Ok(());
                }
                bus.fetch(task_id, since).await.map(drop)
            }
            (None, None) => return Ok(()),
        };
        fetched.map_err(|error| Refusal::new(ErrorCode::Unavailable, chain(&error)))
    }

    fn subscribe(
        self: &Arc<Self>,
        reference: Option<Reference>,
        target: Option<Target>,
        since: Option<Since>,
        history: Option<u32>,
    ) -> Result<(), Refusal> {
        let start = self.manager().start(since, history);
        let target = match target {
            Some(target) => target,
            None => Target::Task(self.task_or_path(None)?),
        };
        match &target {
            Target::Task(task_id) => self.access().check(Permission::Watch, task_id)?,
            Target::Pattern(pattern) => self.access().check_pattern(pattern)?,
        }
        let limit = self.manager().config.max_subscriptions;
        if self.lock().subs.explicit() >= limit {
            return Err(Refusal::new(
                ErrorCode::TooManySubscriptions,
                format!(
                    "this connection has {limit} subscriptions already: unsubscribe from some, \
                     or subscribe to a pattern"
                ),
            ));
        }
        match target {
            Target::Task(task_id) => self.subscribe_task(&task_id, &start, reference.as_ref())?,
            // It is confirmed, then each task that is there is announced with its
            // state, then those that appear come with their first event.
            Target::Pattern(pattern) => self.begin(Job::Match {
                pattern,
                after: None,
                start: Some(start),
                asked: Some(AskedFor(reference)),
            }),
        }
        Ok(())
    }

    /// Subscribes by name; a subscription that was there starts anew.
    pub(crate) fn subscribe_task(
        self: &Arc<Self>,
        task_id: &TaskId,
        start: &Start,
        reference: Option<&Reference>,
    ) -> Result<(), OverLimit> {
        let bus = &self.manager().bus;
        loop {
            let task = bus.task_for(&self.account(&self.access()), task_id)?;
            let kind = OpeningKind::Subscribed {
                reference: reference.cloned(),
                pattern: None,
            };
            match self.add_task(&task, start.clone(), kind, true) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) if self.is_open() => {}
                Ok(None) => {
                    bus.forget_if_unused(&task);
                    return Ok(());
                }
                Err(over) => {
                    bus.forget_if_unused(&task);
                    return Err(over);
                }
            }
        }
    }

    fn unsubscribe(
        self: &Arc<Self>,
        reference: Option<Reference>,
        target: Option<Target>,
    ) -> Result<Option<ControlMessage>, Refusal> {
        let task_id = match target {
            Some(Target::Task(task_id)) => task_id,
            None => self.task_or_path(None)?,
            Some(Target::Pattern(pattern)) => {
                self.begin(Job::Unmatch {
                    pattern,
                    from: 0,
                    reference,
                    reason: UnsubscribeReason::Asked,
                    begun: false,
                });
                return Ok(None);
            }
        };
        if !self.release_task(&task_id) {
            return Err(Refusal::new(
                ErrorCode::NotSubscribed,
                format!("this connection is not subscribed to {task_id}"),
            ));
        }
        self.changed();
        Ok(Some(ControlMessage::unsubscribed(
            reference,
            Target::Task(task_id),
            UnsubscribeReason::Asked,
        )))
    }

    /// Takes the cursor on a task away.
    fn drop_task(&self, task_id: &TaskId) -> bool {
        let removed = {
            let mut out = self.lock();
            let key = out.subs.find(task_id);
            key.and_then(|key| out.remove_sub(key))
        };
        let Some(sub) = removed else { return false };
        if let Source::Task(task) = &sub.source {
            self.manager().bus.detach(task, sub.attached);
        }
        true
    }

    /// Undoes a subscription by name; a pattern that matches the task keeps its cursor.
    fn release_task(&self, task_id: &TaskId) -> bool {
        let mut out = self.lock();
        let matched = out.subs.matching(task_id).is_some();
        let key = out.subs.find(task_id);
        let Some(key) = key.filter(|_| matched) else {
            drop(out);
            return self.drop_task(task_id);
        };
        let was_explicit = out.subs.set_explicit(key, false).unwrap_or_default();
        let Some(sub) = out.subs.get_mut(key) else {
            return false;
        };
        let (source, attached) = (sub.source.clone(), sub.attached);
        drop(out);
        if let Source::Task(task) = &source {
            task.topic().set_hold(attached, Hold::Follows);
            self.manager().bus.forget_if_unused(task);
        }
        was_explicit
    }
}
