//! Watchers of tasks and patterns.

use std::sync::Arc;

use tidings_protocol::Pattern;

use super::EventBus;
use crate::cluster::fetch;
use crate::deliver::topic::AttachId;
use crate::tasks::life;
use crate::tasks::registry::{PatternId, PatternWatcher};
use crate::tasks::task::Task;

impl EventBus {
    /// Detaches a watcher. Forgets the task if it is undeclared and has no other watcher.
    pub fn detach(&self, task: &Arc<Task>, id: AttachId) {
        task.topic().detach(id);
        life::forget_if_unused(&self.shared, task);
    }

    /// Forgets a task that has no events and no watcher that keeps it.
    pub fn forget_if_unused(&self, task: &Arc<Task>) {
        life::forget_if_unused(&self.shared, task);
    }

    /// Attaches a pattern. Returns the tasks that match now. `watcher` is told of matching tasks
    /// that appear later.
    pub fn watch_pattern(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
    ) -> (PatternId, Vec<Arc<Task>>) {
        let watched = self
            .shared
            .tasks
            .watch(pattern, watcher, key, || self.pattern_comes());
        // Fetch tasks that appeared after the caller fetched the pattern.
        fetch::spawn_fetch_matching(&self.shared, pattern.clone());
        watched
    }

    /// Attaches a pattern. `watcher` is told of matching tasks that appear from now on.
    /// [`tasks_matching`](Self::tasks_matching) returns the tasks that match already.
    pub fn attach_pattern(
        &self,
        pattern: &Pattern,
        watcher: Arc<dyn PatternWatcher>,
        key: usize,
    ) -> PatternId {
        let id = self
            .shared
            .tasks
            .attach(pattern, watcher, key, || self.pattern_comes());
        // Fetch tasks that appeared after the caller fetched the pattern.
        fetch::spawn_fetch_matching(&self.shared, pattern.clone());
        id
    }

    /// Detaches a pattern. The watcher itself must detach its cursors on the pattern's tasks.
    pub fn unwatch_pattern(&self, id: PatternId) {
        self.shared.unwatch_pattern(id);
    }

    fn pattern_comes(&self) {
        if let Some(interest) = &self.shared.interest {
            interest.watch_new(true);
        }
    }
}
