//! The invariant of Tidings, checked from the messages to one subscriber.
//!
//! Take the delivered offsets, merged ranges and gap ranges of one task, in the order in which one
//! subscriber receives them. They are contiguous and do not overlap. Folding the messages gives the
//! task's state (see [`StateChecker`]). Every test and every bench passes its messages to a
//! checker.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidings_protocol::{Epoch, Gap, GapReason, Offset, Pattern, Position, TaskId, TaskSnapshot};

use crate::state::{StateChecker, StateViolation};

/// A violation of the promise to a subscriber.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// An offset arrived that is not the next one.
    #[error("offset {got} came where {expected} was due: {}", if got > expected { "offsets were lost" } else { "offsets came twice" })]
    Offset {
        /// The offset that was due.
        expected: u64,
        /// The offset that arrived.
        got: u64,
    },
    /// A gap does not begin at the offset that was due.
    #[error("gap {gap:?} came where {expected} was due")]
    Gap {
        /// The offset that was due.
        expected: u64,
        /// The gap that arrived.
        gap: Gap,
    },
    /// An event arrived before the subscription was confirmed.
    #[error("offset {got} came before the subscription began")]
    NotJoined {
        /// The offset that arrived.
        got: u64,
    },
    /// The history began after the task's newest event.
    #[error("history began at {got}, after the head {head}")]
    BeyondHead {
        /// The task's newest offset at the time of the subscription.
        head: u64,
        /// The offset that arrived.
        got: u64,
    },
    /// A gap arrived without the task's state.
    #[error("gap {gap:?} came without a snapshot")]
    NoSnapshot {
        /// The gap that arrived.
        gap: Gap,
    },
    /// Folding the messages did not give the task's state.
    #[error(transparent)]
    State(#[from] StateViolation),
    /// A message does not follow the protocol.
    #[error("not as the protocol says ({what}): {message}")]
    Malformed {
        /// The rule that the message breaks.
        what: &'static str,
        /// The message.
        message: String,
    },
}

/// How a subscription began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// This offset is due.
    Exactly(u64),
    /// A history of unknown length: any offset up to one after the newest is due.
    UpTo(u64),
}

/// Checks the messages about one task to one subscriber.
#[derive(Debug, Clone, Default)]
pub struct Checker {
    next: Option<Next>,
    delivered: u64,
    gaps: Vec<Gap>,
    resets: u64,
}

impl Checker {
    /// Creates a checker for a subscriber that receives everything from `next` on.
    pub fn from(next: u64) -> Self {
        Self {
            next: Some(Next::Exactly(next)),
            ..Self::default()
        }
    }

    /// Creates a checker for a subscriber that asked for some history before `head`.
    pub fn with_history(head: u64) -> Self {
        Self {
            next: Some(Next::UpTo(head + 1)),
            ..Self::default()
        }
    }

    /// Returns the offset that is due.
    pub fn expected(&self) -> Option<u64> {
        match self.next? {
            Next::Exactly(next) | Next::UpTo(next) => Some(next),
        }
    }

    /// Returns the number of events that arrived.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Returns the gaps that arrived.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Checks an event.
    ///
    /// # Errors
    /// Returns an error if another offset was due.
    pub fn event(&mut self, got: u64) -> Result<(), Violation> {
        self.merged(got, got)
    }

    /// Checks a merged event that stands for all offsets from `got` to `to`.
    ///
    /// # Errors
    /// Returns an error if another offset than `got` was due.
    pub fn merged(&mut self, got: u64, to: u64) -> Result<(), Violation> {
        if to < got {
            return Err(Violation::Offset {
                expected: got,
                got: to,
            });
        }
        match self.next {
            None => return Err(Violation::NotJoined { got }),
            Some(Next::Exactly(expected)) if got != expected => {
                return Err(Violation::Offset { expected, got });
            }
            Some(Next::UpTo(next)) if got > next || got == 0 => {
                return Err(Violation::BeyondHead {
                    head: next - 1,
                    got,
                });
            }
            Some(_) => {}
        }
        self.next = Some(Next::Exactly(to + 1));
        self.delivered += 1;
        Ok(())
    }

    /// Checks a gap.
    ///
    /// # Errors
    /// Returns an error if another offset was due, or if a required snapshot is missing.
    pub fn gap(&mut self, gap: Gap, has_snapshot: bool) -> Result<(), Violation> {
        let (from, to) = (gap.from.get(), gap.to.get());
        let expected = match self.next {
            Some(Next::Exactly(expected)) => expected,
            Some(Next::UpTo(_)) | None => from,
        };
        if from != expected || to < from {
            return Err(Violation::Gap { expected, gap });
        }
        if gap.reason != GapReason::Conflated && !has_snapshot {
            return Err(Violation::NoSnapshot { gap });
        }
        self.next = Some(Next::Exactly(to + 1));
        self.gaps.push(gap);
        Ok(())
    }

    /// Records a reset: the following events come after `offset`.
    pub fn reset(&mut self, offset: u64) {
        self.next = Some(Next::Exactly(offset + 1));
        self.resets += 1;
    }

    /// Returns the number of resets that arrived.
    pub fn resets(&self) -> u64 {
        self.resets
    }
}

/// Checks all messages of one connection, about all of its tasks.
#[derive(Debug, Clone, Default)]
pub struct WireChecker {
    tasks: BTreeMap<String, TaskChecker>,
    /// The positions after which the client asked to continue, by task.
    since: BTreeMap<String, Asked>,
    inbox: Option<Checker>,
    /// The patterns that the server has confirmed.
    patterns: BTreeSet<String>,
    /// The trees that the server has confirmed.
    trees: BTreeSet<String>,
    going_away: Option<Value>,
}

/// The state of one task in a connection's checker.
#[derive(Debug, Clone, Default)]
pub struct TaskChecker {
    /// Checks the offsets.
    pub checker: Checker,
    /// The epoch of the offsets.
    pub epoch: Option<Epoch>,
    /// The epoch of the client's position. If the epoch differs, a reset must say why.
    claim: Option<Epoch>,
    /// The last snapshot.
    pub snapshot: Option<Value>,
    /// Folds everything that arrived.
    pub state: StateChecker,
    /// The newest offset, according to heartbeats.
    pub head: u64,
    /// The types of the events that arrived, in order.
    pub event_types: Vec<String>,
}

impl TaskChecker {
    /// Returns the position after which to continue on the next connection.
    pub fn position(&self) -> Option<Position> {
        let next = self.checker.expected()?;
        let offset = tidings_protocol::Offset::new(next - 1).ok()?;
        Some(Position {
            epoch: self.epoch.clone()?,
            offset,
        })
    }
}

#[derive(Debug, Clone)]
enum Asked {
    After(Position),
    Retained,
    History,
}

impl WireChecker {
    /// Records that the client asks to continue after a position.
    pub fn ask_since(&mut self, task_id: &str, position: Position) {
        self.since
            .insert(task_id.to_owned(), Asked::After(position));
    }

    /// Records that the client asks for all retained events (`since=0`).
    pub fn ask_retained(&mut self, task_id: &str) {
        self.since.insert(task_id.to_owned(), Asked::Retained);
    }

    /// Records that the client asks for some history.
    pub fn ask_history(&mut self, task_id: &str) {
        self.since.insert(task_id.to_owned(), Asked::History);
    }

    /// Returns a checker for the client's next connection, on which the server continues at the
    /// client's cursors. For each task that the client still watches, the server must know what the
    /// client has seen so far.
    #[must_use]
    pub fn resumed(&self, watches: impl Fn(&str) -> bool) -> Self {
        let mut since = self.since.clone();
        for (task_id, task) in &self.tasks {
            let asked = match (task.checker.next, task.position()) {
                (None, _) => continue,
                // No history has arrived yet, so only the server knows where it begins.
                (Some(Next::UpTo(_)), _) => Asked::History,
                (Some(Next::Exactly(_)), Some(position)) => Asked::After(position),
                (Some(Next::Exactly(_)), None) => continue,
            };
            since.insert(task_id.clone(), asked);
        }
        since.retain(|task_id, _| watches(task_id));
        Self {
            since,
            inbox: self.inbox.clone(),
            patterns: self.patterns.clone(),
            trees: self.trees.clone(),
            ..Self::default()
        }
    }

    /// Returns whether a request to continue at some position is still unanswered.
    pub fn is_asking(&self) -> bool {
        !self.since.is_empty()
    }

    /// Records that the client no longer watches a task. Until the task is announced again, no
    /// message about it may come.
    pub fn forget(&mut self, task_id: &str) {
        self.tasks.remove(task_id);
        self.since.remove(task_id);
    }

    /// Returns the checker of a task.
    pub fn task(&self, task_id: &str) -> Option<&TaskChecker> {
        self.tasks.get(task_id)
    }

    /// Returns the checkers of all tasks.
    pub fn tasks(&self) -> impl Iterator<Item = (&str, &TaskChecker)> {
        self.tasks.iter().map(|(id, task)| (id.as_str(), task))
    }

    /// Compares the folded messages about a task with the server's state.
    ///
    /// # Errors
    /// Returns an error if they differ, or if no messages about the task arrived.
    pub fn compare(&self, server: &TaskSnapshot) -> Result<(), StateViolation> {
        let task = self.task(server.task_id.as_str());
        let task = task.ok_or(StateViolation::Nothing)?;
        task.state.compare(server)
    }

    /// Returns the message `going_away`, if it has arrived.
    pub fn going_away(&self) -> Option<&Value> {
        self.going_away.as_ref()
    }

    /// Checks a message and returns it parsed.
    ///
    /// # Errors
    /// Returns an error if the message violates the invariant or the protocol.
    pub fn message(&mut self, text: &str) -> Result<Value, Violation> {
        let malformed = |what: &'static str| Violation::Malformed {
            what,
            message: text.to_owned(),
        };
        let message: Value = serde_json::from_str(text).map_err(|_| malformed("JSON"))?;
        let kind = message["event_type"]
            .as_str()
            .ok_or_else(|| malformed("event_type"))?;
        let task_id = message["task_id"].as_str().map(str::to_owned);
        let data = &message["data"];
        if !data.is_object() {
            return Err(malformed("data is no object"));
        }
        if let Some(offset) = message.get("offset") {
            let offset = offset.as_u64().ok_or_else(|| malformed("offset"))?;
            let task_id = task_id.ok_or_else(|| malformed("an event without task_id"))?;
            let kind = kind.to_owned();
            let from = match message.get("from") {
                Some(from) => from.as_u64().ok_or_else(|| malformed("from"))?,
                None => offset,
            };
            let task = self.tasks.entry(task_id).or_default();
            task.checker.merged(from, offset)?;
            task.event_types.push(kind);
            task.state.text(text)?;
            return Ok(message);
        }
        match kind {
            "connection_established" | "subscribed" => {
                if let Some(tree) = data["tree"].as_str() {
                    match &task_id {
                        None => _ = self.trees.insert(tree.to_owned()),
                        Some(_) if !self.trees.contains(tree) => {
                            return Err(malformed("a task of a tree that is not subscribed to"));
                        }
                        Some(_) => {}
                    }
                }
                if let Some(task_id) = task_id.filter(|_| data.get("snapshot").is_some()) {
                    self.join(task_id, data, text)?;
                } else if let Some(pattern) = data["pattern"].as_str() {
                    self.patterns.insert(pattern.to_owned());
                }
            }
            "unsubscribed" => {
                let reason = data["reason"].as_str();
                let reason = reason.ok_or_else(|| malformed("unsubscribed without a reason"))?;
                if let Some(task_id) = data["task_id"].as_str() {
                    if reason == "removed" {
                        self.tasks.remove(task_id);
                    }
                    // If a subscribed pattern also matches the task, its events continue.
                    if !self.is_matched(task_id) {
                        self.tasks.remove(task_id);
                    }
                } else if let Some(pattern) = data["pattern"].as_str() {
                    self.patterns.remove(pattern);
                } else if let Some(tree) = data["tree"].as_str() {
                    self.trees.remove(tree);
                }
            }
            "reset" => self.reset(task_id, data, text)?,
            "gap" => self.gap(task_id, data, text)?,
            "heartbeat" => {
                for (task_id, head) in data["heads"].as_object().into_iter().flatten() {
                    if let Some(task) = self.tasks.get_mut(task_id) {
                        task.head = head.as_u64().ok_or_else(|| malformed("head"))?;
                    }
                }
            }
            "personal_message" => {
                let offset = data["offset"]
                    .as_u64()
                    .ok_or_else(|| malformed("inbox offset"))?;
                self.inbox
                    .get_or_insert_with(|| Checker::with_history(offset))
                    .event(offset)?;
            }
            "going_away" => self.going_away = Some(data.clone()),
            _ => {}
        }
        Ok(message)
    }

    fn is_matched(&self, task_id: &str) -> bool {
        let Ok(task_id) = TaskId::new(task_id) else {
            return false;
        };
        let mut patterns = self.patterns.iter();
        patterns.any(|pattern| {
            let pattern = pattern.parse::<Pattern>();
            pattern.is_ok_and(|pattern| pattern.matches(&task_id))
        })
    }

    fn join(&mut self, task_id: String, data: &Value, text: &str) -> Result<(), Violation> {
        let malformed = |what: &'static str| Violation::Malformed {
            what,
            message: text.to_owned(),
        };
        let epoch: Epoch = data["epoch"]
            .as_str()
            .and_then(|epoch| epoch.parse().ok())
            .ok_or_else(|| malformed("epoch"))?;
        let offset = data["offset"].as_u64().ok_or_else(|| malformed("offset"))?;
        let recovered = data["recovered"]
            .as_bool()
            .ok_or_else(|| malformed("recovered"))?;
        if data["snapshot"]["offset"].as_u64() != Some(offset) {
            return Err(malformed(
                "the snapshot is not of the offset that was joined at",
            ));
        }
        let asked = self.since.remove(&task_id);
        let claim = match &asked {
            Some(Asked::After(position)) if position.offset > Offset::ZERO => {
                position.epoch.clone()
            }
            _ => epoch.clone(),
        };
        let in_group = data.get("pattern").is_some() || data.get("tree").is_some();
        let appeared = in_group && offset == 0;
        // The client did not ask for a position. The server names the epoch of a task's first
        // event.
        let known = self.tasks.get(&task_id);
        if let Some(known) =
            known.filter(|_| asked.is_none() && data.get("ref").is_none() && !in_group)
            && (known.checker.expected() != Some(1) || offset != 0 || !recovered)
        {
            return Err(malformed("subscribed again, with events before it"));
        }
        let checker = match asked {
            // The task appeared in a group, perhaps again. All of its events follow.
            _ if appeared => Checker::from(1),
            None => Checker::from(offset + 1),
            Some(Asked::History) => Checker::with_history(offset),
            Some(Asked::Retained) => Checker::from(1),
            Some(Asked::After(position)) => {
                // Before the first event there is only one position, so its epoch does not matter.
                let same = position.offset == Offset::ZERO || position.epoch == epoch;
                let covered = same && position.offset.get() <= offset;
                if recovered && !covered {
                    return Err(malformed("recovered, although the position is not covered"));
                }
                Checker::from(position.offset.get() + 1)
            }
        };
        let mut state = StateChecker::default();
        state.text(text)?;
        let task = TaskChecker {
            checker,
            state,
            epoch: Some(epoch),
            // If the position was not recovered, the server explains that in the next messages.
            claim: recovered.then_some(claim),
            snapshot: Some(data["snapshot"].clone()),
            head: offset,
            ..TaskChecker::default()
        };
        self.tasks.insert(task_id, task);
        Ok(())
    }

    fn reset(
        &mut self,
        task_id: Option<String>,
        data: &Value,
        text: &str,
    ) -> Result<(), Violation> {
        let malformed = |what: &'static str| Violation::Malformed {
            what,
            message: text.to_owned(),
        };
        let task_id = task_id.ok_or_else(|| malformed("a reset without task_id"))?;
        let epoch = data["epoch"].as_str().and_then(|epoch| epoch.parse().ok());
        let epoch: Epoch = epoch.ok_or_else(|| malformed("epoch"))?;
        let offset = data["offset"].as_u64().ok_or_else(|| malformed("offset"))?;
        if data["snapshot"]["epoch"].as_str() != Some(epoch.as_str())
            || data["snapshot"]["offset"].as_u64() < Some(offset)
        {
            return Err(malformed("the snapshot is not of where the task goes on"));
        }
        let task = self.tasks.entry(task_id).or_default();
        let same = task.claim.as_ref() == Some(&epoch);
        let ahead = task.checker.expected() > Some(offset + 1);
        match data["reason"].as_str() {
            Some("ahead") if ahead && (same || task.claim.is_none()) => {}
            Some("epoch_changed" | "removed") if !same => {}
            _ => return Err(malformed("a reset without a reason")),
        }
        task.checker.reset(offset);
        task.claim = Some(epoch.clone());
        task.epoch = Some(epoch);
        task.snapshot = Some(data["snapshot"].clone());
        task.state.text(text)?;
        Ok(())
    }

    fn gap(&mut self, task_id: Option<String>, data: &Value, text: &str) -> Result<(), Violation> {
        let malformed = Violation::Malformed {
            what: "gap",
            message: text.to_owned(),
        };
        let gap: Gap = serde_json::from_value(data.clone()).map_err(|_| malformed.clone())?;
        let Some(task_id) = task_id else {
            return self
                .inbox
                .get_or_insert_with(Checker::default)
                .gap(gap, true);
        };
        let task = self.tasks.entry(task_id).or_default();
        let snapshot = data.get("snapshot").filter(|snapshot| snapshot.is_object());
        task.checker.gap(gap, snapshot.is_some())?;
        if let Some(snapshot) = snapshot {
            task.epoch = snapshot["epoch"]
                .as_str()
                .and_then(|epoch| epoch.parse().ok());
            task.snapshot = Some(snapshot.clone());
        }
        task.state.text(text)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: u64, to: u64, reason: GapReason) -> Gap {
        Gap {
            from: Offset::new(from).unwrap(),
            to: Offset::new(to).unwrap(),
            reason,
        }
    }

    #[test]
    fn accepts_contiguous_and_refuses_the_rest() {
        let mut checker = Checker::from(3);
        checker.event(3).unwrap();
        checker.gap(gap(4, 6, GapReason::Overrun), true).unwrap();
        checker.event(7).unwrap();
        assert!(checker.event(7).is_err(), "twice");
        assert!(checker.event(9).is_err(), "lost");
        assert!(
            checker.gap(gap(9, 9, GapReason::Overrun), true).is_err(),
            "a hole before a gap"
        );
        assert!(
            checker.gap(gap(8, 7, GapReason::Overrun), true).is_err(),
            "an empty gap"
        );
        assert!(
            checker.gap(gap(8, 8, GapReason::Overrun), false).is_err(),
            "no snapshot"
        );
        checker.gap(gap(8, 9, GapReason::Conflated), false).unwrap();
        checker.reset(0);
        checker.event(1).unwrap();
        checker.merged(2, 5).unwrap();
        checker.event(6).unwrap();
        assert!(checker.merged(6, 9).is_err(), "merged, and partly twice");
        assert!(checker.merged(7, 6).is_err(), "merged from nothing");
        assert_eq!(checker.delivered(), 5);
    }
}
