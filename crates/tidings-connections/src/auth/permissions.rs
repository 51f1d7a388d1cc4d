//! Permissions: which actions are allowed on which tasks.

use serde::{Deserialize, Serialize};
use tidings_protocol::{EventType, Permission, TaskId};

use super::Scope;

/// The permissions of a principal, each with its tasks. Anything not listed is forbidden.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Permissions {
    /// The tasks that may be watched.
    pub watch: Scope,
    /// The tasks to which events may be published.
    pub publish: Scope,
    /// The tasks whose questions may be answered, in addition to the tasks of `command`.
    pub answer: Scope,
    /// The tasks that may be commanded.
    pub command: Scope,
    /// The tasks that may be administered.
    pub admin: Scope,
}

impl Permissions {
    /// Returns every permission for every task.
    pub fn all() -> Self {
        let mut all = Self::default();
        for permission in Permission::ALL.iter().copied() {
            *all.scope_mut(permission) = Scope::everything();
        }
        all
    }

    /// Sets the tasks of one permission.
    #[must_use]
    pub fn with(mut self, permission: Permission, scope: Scope) -> Self {
        *self.scope_mut(permission) = scope;
        self
    }

    /// Returns the tasks that are listed for one permission. Another permission may imply it for
    /// more tasks: see [`allow`](Self::allow).
    pub fn scope(&self, permission: Permission) -> &Scope {
        match permission {
            Permission::Watch => &self.watch,
            Permission::Publish => &self.publish,
            Permission::Answer => &self.answer,
            Permission::Command => &self.command,
            Permission::Admin => &self.admin,
        }
    }

    fn scope_mut(&mut self, permission: Permission) -> &mut Scope {
        match permission {
            Permission::Watch => &mut self.watch,
            Permission::Publish => &mut self.publish,
            Permission::Answer => &mut self.answer,
            Permission::Command => &mut self.command,
            Permission::Admin => &mut self.admin,
        }
    }

    /// Returns whether the permission covers the task.
    pub fn allow(&self, permission: Permission, task_id: &TaskId) -> bool {
        let implied = permission == Permission::Answer && self.command.allows(task_id);
        implied || self.scope(permission).allows(task_id)
    }

    /// Returns the permission that is missing to publish an event of this type, or `None` if
    /// nothing is missing. A request for a command also needs `command`, and an answer also needs
    /// `answer`. Otherwise, `publish` alone would be a way around them.
    pub fn missing_to_publish(&self, task_id: &TaskId, event: &EventType) -> Option<Permission> {
        let more = match event {
            EventType::CommandRequested => Some(Permission::Command),
            EventType::InputProvided => Some(Permission::Answer),
            _ => None,
        };
        [Some(Permission::Publish), more]
            .into_iter()
            .flatten()
            .find(|permission| !self.allow(*permission, task_id))
    }
}
