//! Permissions: which actions are allowed on which tasks.

use serde::{Deserialize, Serialize};
use tidings_protocol::{EventType, TaskId};

use super::Scope;

/// A permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Watch a task: its events, history and snapshot.
    Watch,
    /// Publish events into it, but for requests of commands and answers.
    Publish,
    /// Answer its questions.
    Answer,
    /// Ask it to cancel, pause, or whatever its agent understands. Whoever may do
    /// that may answer its questions, too.
    Command,
    /// Remove a task, and see who watches it. For every task (`*`): see and close all connections,
    /// send personal messages, and read statistics and metrics.
    Admin,
}

/// Returned when a text is not the name of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a permission: watch, publish, answer, command or admin")]
pub struct UnknownPermission;

impl Permission {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Watch,
        Self::Publish,
        Self::Answer,
        Self::Command,
        Self::Admin,
    ];

    /// Returns the permission's name in tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Publish => "publish",
            Self::Answer => "answer",
            Self::Command => "command",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text)
            .ok_or(UnknownPermission)
    }
}

/// The permissions of a principal, each with its tasks. Anything not listed is forbidden.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Permissions {
    /// The tasks that may be watched.
    pub watch: Scope,
    /// The tasks to which events may be published.
    pub publish: Scope,
    /// What may be answered, beside what may be commanded.
    pub answer: Scope,
    /// What may be commanded.
    pub command: Scope,
    /// The tasks that may be administered.
    pub admin: Scope,
}

impl Permissions {
    /// Returns every permission for every task.
    pub fn all() -> Self {
        let mut all = Self::default();
        for permission in Permission::ALL {
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

    /// The tasks that one permission names. Another one may imply it: see
    /// [`allow`](Self::allow).
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

    /// What somebody lacks who wants to publish this: a request for a command, or an
    /// answer, is an event like any other, and must not be a way around `command` and
    /// `answer`.
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
