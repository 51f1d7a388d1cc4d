//! The tasks that this node watches, and the state of their subscriptions in Redis.

use std::collections::{HashMap, HashSet};

use tidings_protocol::TaskId;

/// A task that is watched, or was watched a moment ago.
#[derive(Debug, Default)]
struct Entry {
    watchers: usize,
    /// True if Redis sends the task's events.
    live: bool,
    /// The epoch and the offset of the last event that Redis reported.
    seen: Option<(String, u64)>,
}

/// The changes of subscriptions that are needed, so that Redis sends the events of watched
/// tasks only.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) subscribe: Vec<TaskId>,
    pub(crate) unsubscribe: Vec<TaskId>,
    /// Tasks that are watched again under a subscription that still exists.
    pub(crate) look: Vec<TaskId>,
}

/// The plain state. The broker's session acts on it.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    tasks: HashMap<TaskId, Entry>,
    changed: HashSet<TaskId>,
}

impl Watched {
    /// Adds one watcher. Returns true if a subscription must change.
    pub(crate) fn watch(&mut self, task_id: &TaskId) -> bool {
        let entry = self.tasks.entry(task_id.clone()).or_default();
        entry.watchers += 1;
        entry.watchers == 1 && self.changed.insert(task_id.clone())
    }

    /// Removes one watcher. Returns true if a subscription must change.
    pub(crate) fn unwatch(&mut self, task_id: &TaskId) -> bool {
        let Some(entry) = self.tasks.get_mut(task_id) else {
            return false;
        };
        entry.watchers = entry.watchers.saturating_sub(1);
        entry.watchers == 0 && self.changed.insert(task_id.clone())
    }

    pub(crate) fn is_live(&self, task_id: &TaskId) -> bool {
        self.tasks.get(task_id).is_some_and(|entry| entry.live)
    }

    /// Takes the needed changes.
    pub(crate) fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        for task_id in std::mem::take(&mut self.changed) {
            let Some(entry) = self.tasks.get(&task_id) else {
                continue;
            };
            match (entry.watchers > 0, entry.live) {
                (true, false) => changes.subscribe.push(task_id),
                (true, true) => changes.look.push(task_id),
                (false, true) => changes.unsubscribe.push(task_id),
                (false, false) => {
                    self.tasks.remove(&task_id);
                }
            }
        }
        changes
    }

    /// Records that Redis sends these tasks' events from now on.
    pub(crate) fn subscribed(&mut self, tasks: &[TaskId]) {
        for task_id in tasks {
            if let Some(entry) = self.tasks.get_mut(task_id) {
                entry.live = true;
            }
        }
    }

    /// Records that Redis no longer sends these tasks' events.
    pub(crate) fn unsubscribed(&mut self, tasks: &[TaskId]) {
        for task_id in tasks {
            let Some(entry) = self.tasks.get_mut(task_id) else {
                continue;
            };
            entry.live = false;
            entry.seen = None;
            if entry.watchers == 0 {
                self.tasks.remove(task_id);
            } else {
                self.changed.insert(task_id.clone());
            }
        }
    }

    /// Schedules another try for these tasks.
    pub(crate) fn again(&mut self, tasks: Vec<TaskId>) {
        self.changed.extend(tasks);
    }

    /// Records that the connection is gone. All watched tasks need a new subscription.
    pub(crate) fn disconnected(&mut self) {
        self.tasks.retain(|_, entry| entry.watchers > 0);
        for (task_id, entry) in &mut self.tasks {
            entry.live = false;
            entry.seen = None;
            self.changed.insert(task_id.clone());
        }
    }

    /// Records a report of Redis about a task. Returns false if the report is not new.
    pub(crate) fn saw(&mut self, task_id: &TaskId, epoch: &str, head: u64) -> bool {
        let Some(entry) = self.tasks.get_mut(task_id) else {
            return true;
        };
        let news = entry
            .seen
            .as_ref()
            .is_none_or(|(known, at)| known != epoch || *at < head);
        if news {
            entry.seen = Some((epoch.to_owned(), head));
        }
        news
    }

    /// Returns all tasks with a subscription in Redis.
    pub(crate) fn live(&self) -> Vec<TaskId> {
        let live = self.tasks.iter().filter(|(_, entry)| entry.live);
        live.map(|(task_id, _)| task_id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    #[test]
    fn asks_once_for_a_task_however_many_watch_it() {
        let mut watched = Watched::default();
        assert!(watched.watch(&id("a")));
        assert!(!watched.watch(&id("a")));
        assert_eq!(watched.changes().subscribe, [id("a")]);
        watched.subscribed(&[id("a")]);
        assert!(watched.is_live(&id("a")));
        assert!(!watched.unwatch(&id("a")));
        assert!(watched.unwatch(&id("a")));
        assert_eq!(watched.changes().unsubscribe, [id("a")]);
        watched.unsubscribed(&[id("a")]);
        assert_eq!(watched.changes(), Changes::default());
        assert!(watched.tasks.is_empty());
    }

    #[test]
    fn a_task_that_is_watched_again_is_looked_at() {
        let mut watched = Watched::default();
        watched.watch(&id("a"));
        watched.changes();
        watched.subscribed(&[id("a")]);
        watched.unwatch(&id("a"));
        watched.watch(&id("a"));
        let changes = watched.changes();
        assert_eq!((changes.look, changes.unsubscribe), (vec![id("a")], vec![]));
    }

    #[test]
    fn asks_for_everything_after_the_connection_was_lost() {
        let mut watched = Watched::default();
        for name in ["a", "b", "gone"] {
            watched.watch(&id(name));
        }
        watched.changes();
        watched.subscribed(&[id("a"), id("b"), id("gone")]);
        watched.unwatch(&id("gone"));
        watched.disconnected();
        assert!(!watched.is_live(&id("a")));
        let mut again = watched.changes().subscribe;
        again.sort_unstable();
        assert_eq!(again, [id("a"), id("b")]);
    }

    #[test]
    fn tells_news_from_what_was_said_before() {
        let mut watched = Watched::default();
        watched.watch(&id("a"));
        assert!(watched.saw(&id("a"), "e", 2));
        assert!(!watched.saw(&id("a"), "e", 2));
        assert!(!watched.saw(&id("a"), "e", 1));
        assert!(watched.saw(&id("a"), "f", 1));
    }
}
