//! The processing of a client's messages.

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
use crate::group::Group;
use crate::jobs::Job;
use crate::limits::{Limit, Limited, Own};
use crate::opening::OpeningKind;
use crate::outbound::Outbound;
use crate::subscription::Source;

/// The bytes of answers that are collected before they are sent.
const ANSWER_BYTES: usize = 16 * 1024;

/// The most events that are published together. Their answers wait for the last of them.
const MAX_BATCH: usize = 256;

/// The number of messages of one connection that are processed before other tasks run. They take
/// some hundred µs of a processor.
const MESSAGES_BETWEEN_YIELDS: usize = 64;

/// The error for a request that was refused.
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

/// The request in a message.
enum Asked {
    Publish(Option<Reference>, TaskId, NewEvent),
    Other(ClientMessage),
    /// The request is refused with this answer.
    Refused(ControlMessage),
}

/// Events that are published together.
#[derive(Default)]
struct Batch {
    events: Vec<(TaskId, NewEvent)>,
    /// The reference and the task of each event, for the answers.
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

/// Returns the text of an error and its causes, separated by colons.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // A cause that the text before it already quotes is not repeated.
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
    /// Processes a text message and answers it. A malformed message is answered with an error that
    /// says what is wrong. The connection stays open.
    ///
    /// # Cancel safety
    /// A dropped future leaves open whether a publish took place.
    pub async fn receive(self: &Arc<Self>, text: &str) {
        self.receive_all([text]).await;
    }

    /// Processes messages in order. Consecutive events are published together, and answers are sent
    /// together. The messages of one read therefore cost one write, and one turn of the store if
    /// there is one.
    ///
    /// # Cancel safety
    /// The same as for [`receive`](Self::receive).
    pub async fn receive_all<T: AsRef<str>>(
        self: &Arc<Self>,
        messages: impl IntoIterator<Item = T>,
    ) {
        self.receive_translated(messages, |_| Ok(None)).await;
    }

    /// Processes messages of another vocabulary. `translate` returns the equivalent message of this
    /// protocol, or `None` if the message already is one. A message is charged before it is
    /// translated.
    ///
    /// # Cancel safety
    /// The same as for [`receive`](Self::receive).
    pub async fn receive_translated<T: AsRef<str>>(
        self: &Arc<Self>,
        messages: impl IntoIterator<Item = T>,
        translate: impl Fn(&str) -> Result<Option<String>, (ErrorCode, String)>,
    ) {
        let _receiving = self.receiving();
        let mut answers = Vec::new();
        let mut batch = Batch::default();
        for (number, message) in messages.into_iter().enumerate() {
            if number % MESSAGES_BETWEEN_YIELDS == MESSAGES_BETWEEN_YIELDS - 1 {
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

    /// Returns the request in a message, or a refusal. The message is charged before it is decoded.
    fn take(
        &self,
        text: &str,
        translate: impl Fn(&str) -> Result<Option<String>, (ErrorCode, String)>,
    ) -> Asked {
        let max = self.manager().config.max_message_bytes;
        let limits = Limits::default().with_max_message_bytes(max);
        if let Err(limited) = self.throttle(text.len()) {
            // The message is decoded only for its `ref`. Refusals are counted, so a client cannot
            // repeat this for long.
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

    /// Counts a refusal and returns the answer. Closes the connection if too many messages of the
    /// client were refused.
    fn refuse(&self, reference: Option<Reference>, refusal: Refusal) -> ControlMessage {
        self.manager().counters.error(refusal.code);
        self.count_refusal(&mut self.lock());
        if refusal.code == ErrorCode::Forbidden {
            self.manager()
                .counters
                .forbidden
                .fetch_add(1, Ordering::Relaxed);
        }
        ControlMessage::error(reference, refusal.code, refusal.text)
    }

    /// Counts a refusal against the client. Closes the connection if too many messages of the client
    /// were refused.
    pub(crate) fn count_refusal(&self, out: &mut Outbound) {
        let limiter = &self.manager().limiter;
        let who = out.access.who(self.remote_addr());
        limiter.refused(who.as_ref());
        if limiter.heeds(who.as_ref()).is_err() {
            self.close_locked(out, CloseReason::RateLimited);
        }
    }

    /// Processes a message that publishes no event, and answers it.
    async fn handle(self: &Arc<Self>, message: ClientMessage, answers: &mut Vec<u8>) {
        let reference = message.reference;
        let answer = match message.kind {
            ClientRequest::Ping => Ok(Some(ControlMessage::pong(reference.clone()))),
            ClientRequest::Command {
                task_id,
                command,
                args,
                tree: false,
            } => {
                self.command(reference.clone(), task_id, &command, args)
                    .await
            }
            ClientRequest::Command {
                task_id,
                command,
                args,
                tree: true,
            } => {
                // Most connections never command a tree. The box keeps the future for that out of
                // their futures.
                let args = args.as_ref();
                Box::pin(self.command_tree(reference.clone(), task_id, &command, args)).await
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
                // The subscription sends its own confirmation, so earlier answers must go out
                // first.
                self.flush_answers(answers);
                let fetched = self.fetch(target.as_ref(), since.as_ref()).await;
                fetched
                    .and_then(|()| self.subscribe(reference.clone(), target, since, history))
                    .map(|()| None)
            }
            ClientRequest::Unsubscribe { target } => {
                // A request for a group is answered in its turn, so earlier answers must go out
                // first.
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

    pub(crate) fn task_or_path(&self, task_id: Option<TaskId>) -> Result<TaskId, Refusal> {
        task_id.or_else(|| self.path_task().cloned()).ok_or_else(|| {
            Refusal::new(
                ErrorCode::InvalidMessage,
                "`task_id` is missing: only on /ws/tasks/{task_id} does it default to the path's",
            )
        })
    }

    /// Returns the task to which an event goes, if the client may publish it.
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

    /// Publishes the collected events, and answers them.
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

    /// Counts a message and its bytes.
    fn throttle(&self, bytes: usize) -> Result<(), Limited> {
        let limiter = &self.manager().limiter;
        self.own_rates(|rates| rates.messages(1))
            .map_err(|retry_after| limiter.hit_own(Limit::Messages, retry_after))?;
        let who = self.access().who(self.remote_addr());
        limiter.messages(who.clone(), 1)?;
        limiter.bytes(who, bytes)
    }

    /// Checks the rates of this connection, if connections have any.
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

    /// Counts frames that are no complete message: pings, pongs and fragments. If there are too
    /// many, closes the connection and returns `false`.
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

    /// Counts received bytes of any kind. If the client has sent too many, closes the connection
    /// and returns `false`.
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

    /// Fetches the requested tasks, if nodes share a store.
    async fn fetch(&self, target: Option<&Target>, since: Option<&Since>) -> Result<(), Refusal> {
        let bus = &self.manager().bus;
        if !bus.is_shared() {
            return Ok(());
        }
        let fetched = match (target, self.path_task()) {
            // The subscription is refused later, with an error.
            (Some(target), _) if self.access().check_target(target).is_err() => return Ok(()),
            (Some(Target::Pattern(pattern)), _) => bus.fetch_matching(pattern).await,
            // The other tasks of a tree are fetched while it is walked.
            (Some(Target::Task(task_id) | Target::Tree(task_id)), _) | (None, Some(task_id)) => {
                if self.access().check(Permission::Watch, task_id).is_err() {
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
        self.access().check_target(&target)?;
        let limit = self.manager().config.max_subscriptions;
        let full = {
            let out = self.lock();
            out.subs.explicit() >= limit && !out.subs.asked_for(&target)
        };
        if full {
            return Err(Refusal::new(
                ErrorCode::TooManySubscriptions,
                format!(
                    "this connection has {limit} subscriptions already: unsubscribe from some, \
                     or subscribe to a pattern or a tree"
                ),
            ));
        }
        match target {
            Target::Task(task_id) => self.subscribe_task(&task_id, &start, reference.as_ref())?,
            // The pattern is confirmed first. Then each existing task is announced with its state.
            // Tasks that appear later are announced with their first event.
            Target::Pattern(pattern) => {
                self.begin(Job::asked_match(Group::Pattern(pattern), start, reference));
            }
            Target::Tree(root) => {
                self.begin(Job::asked_match(Group::Tree(root), start, reference));
            }
        }
        Ok(())
    }

    /// Subscribes to the targets of a request. A target that may not be watched is answered with
    /// `unsubscribed`, which names it.
    pub(crate) fn subscribe_all(
        self: &Arc<Self>,
        targets: Vec<(Target, Option<Since>)>,
        history: Option<u32>,
    ) {
        for (target, since) in targets {
            let Err(refusal) = self.subscribe(None, Some(target.clone()), since, history) else {
                continue;
            };
            let is_forbidden = refusal.code == ErrorCode::Forbidden;
            let mut answer = self.refuse(None, refusal);
            if is_forbidden {
                let reason = UnsubscribeReason::Forbidden;
                answer = ControlMessage::unsubscribed(None, target, reason);
            }
            self.send(&answer);
        }
    }

    /// Subscribes to a task by name. An existing subscription starts anew.
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
                group: None,
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
        let group = match target {
            Some(Target::Pattern(pattern)) => Group::Pattern(pattern),
            Some(Target::Tree(root)) => Group::Tree(root),
            Some(Target::Task(task_id)) => return self.unsubscribe_task(reference, task_id),
            None => return self.unsubscribe_task(reference, self.task_or_path(None)?),
        };
        self.begin(Job::Unmatch {
            group,
            from: 0,
            reference,
            reason: UnsubscribeReason::Asked,
            begun: false,
        });
        Ok(None)
    }

    fn unsubscribe_task(
        &self,
        reference: Option<Reference>,
        task_id: TaskId,
    ) -> Result<Option<ControlMessage>, Refusal> {
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

    /// Removes the cursor on a task.
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

    /// Ends a subscription by name. If the task belongs to a group, the cursor stays.
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
        let (source, attached, stays) = (sub.source.clone(), sub.attached, sub.stays());
        drop(out);
        if let Source::Task(task) = &source
            && !stays
        {
            task.topic().set_hold(attached, Hold::Follows);
            self.manager().bus.forget_if_unused(task);
        }
        was_explicit
    }
}
