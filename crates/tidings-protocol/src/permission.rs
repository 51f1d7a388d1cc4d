//! Permissions: what a client may do with a task.

/// A permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Watch a task: its events, history and snapshot.
    Watch,
    /// Publish events to the task, except requests for commands and answers.
    Publish,
    /// Answer the task's questions.
    Answer,
    /// Send the task any command, such as `cancel` or `pause`. This permission includes
    /// [`Answer`](Self::Answer).
    Command,
    /// Remove a task, and see who watches it. For every task (`*`): see and close all connections,
    /// send personal messages, and read statistics and metrics.
    Admin,
}

crate::text::named_enum!(Permission, UnknownPermission, "a permission", {
    Watch => "watch",
    Publish => "publish",
    Answer => "answer",
    Command => "command",
    Admin => "admin",
});
