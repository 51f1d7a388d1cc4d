//! Commands for a task and all tasks below it.

use std::net::SocketAddr;

use tidings_bus::{PublishError, StoreError};
use tidings_protocol::{
    CommandId, ControlMessage, Data, ErrorCode, InvalidEvent, NewEvent, Payload, Reference,
    TaskCommanded, TaskId,
};

use crate::auth::{Access, Forbidden, Permission};
use crate::connection::Connection;
use crate::manager::Inner;
use crate::session::{Refusal, chain};

/// The most tasks of a tree that one command may be for. Their answers take about 10 MB.
pub const MAX_COMMANDED: usize = 100_000;

/// The most children that are fetched, and the most events that are published, at a time.
const AT_A_TIME: usize = 256;

/// The reason why a command for a tree was not sent to any task.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandTreeError {
    /// The client may not command the topmost task.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The topmost task does not exist, and no task names it as its parent.
    #[error("there is no task {0} to command")]
    NoTask(TaskId),
    /// The tree is too large. Command its parts.
    #[error("the tree has more than {MAX_COMMANDED} tasks; command its parts one by one")]
    TooLarge,
    /// The command is invalid. Its name must have 1 to 64 characters.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// The tree cannot be read. Try again.
    #[error("the tree cannot be read")]
    Unavailable(#[from] StoreError),
}

impl CommandTreeError {
    /// Returns the protocol's code for the error.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::NoTask(_) => ErrorCode::TaskNotFound,
            Self::TooLarge => ErrorCode::TooLarge,
            Self::Invalid(_) => ErrorCode::InvalidEvent,
            Self::Unavailable(_) => ErrorCode::Unavailable,
        }
    }
}

/// A command for a tree.
#[derive(Debug, Clone)]
pub struct TreeCommand<'a> {
    /// The topmost task.
    pub root: &'a TaskId,
    /// The name of the command.
    pub command: &'a str,
    /// The command's arguments.
    pub args: Option<&'a Data>,
    /// The name of the user or program that sends the command.
    pub by: &'a str,
}

impl TreeCommand<'_> {
    fn event(&self, command_id: &CommandId) -> NewEvent {
        NewEvent::command_requested(command_id, self.command, self.args, self.by)
    }
}

impl Inner {
    /// Asks a task and all tasks below it to do something, the deepest first. The answers are in
    /// the order in which the tasks were asked.
    ///
    /// The topmost task need not exist if other tasks name it as their parent. A task below it that
    /// has ended is not asked. A task that the client may watch
    /// and not command is refused. A task that the client may not watch either is left out.
    ///
    /// # Errors
    /// Returns an error if nothing was sent at all.
    ///
    /// # Cancel safety
    /// A dropped future leaves open which tasks were asked.
    pub(crate) async fn command_tree(
        &self,
        access: &Access,
        addr: Option<SocketAddr>,
        command: TreeCommand<'_>,
    ) -> Result<Vec<TaskCommanded>, CommandTreeError> {
        access.check(Permission::Command, command.root)?;
        let event = command.event(&CommandId::generate());
        Payload::parse(&event.event_type, &event.data)?;
        let mut levels = self.levels(access, addr, command.root).await?;
        if self.bus.find(command.root).await?.is_none() {
            // Its children came first, or it was removed. A command would create it.
            levels.remove(0);
        }
        if levels.is_empty() {
            return Err(CommandTreeError::NoTask(command.root.clone()));
        }
        let mut answers = Vec::new();
        for level in levels.iter().rev() {
            for some in level.chunks(AT_A_TIME) {
                self.wait_for_work(access, addr, some.len()).await;
                self.command_some(access, addr, &command, some, &mut answers)
                    .await?;
            }
        }
        Ok(answers)
    }

    /// Returns the tasks of a tree, one level after the other from the top.
    async fn levels(
        &self,
        access: &Access,
        addr: Option<SocketAddr>,
        root: &TaskId,
    ) -> Result<Vec<Vec<TaskId>>, CommandTreeError> {
        let mut levels = vec![vec![root.clone()]];
        let mut count = 1;
        while let Some(above) = levels.last() {
            let mut level = Vec::new();
            for parent in above {
                let mut after = None;
                loop {
                    let page = self.bus.children(parent, "", after.as_ref(), AT_A_TIME);
                    let page = page.await?;
                    self.wait_for_work(access, addr, page.len().max(1)).await;
                    count += page.len();
                    if count > MAX_COMMANDED {
                        return Err(CommandTreeError::TooLarge);
                    }
                    after = page.last().cloned();
                    let is_last = page.len() < AT_A_TIME;
                    // Two nodes can each accept one half of a circle at the same moment. A task has
                    // one parent, so every circle below the topmost task leads back to it.
                    level.extend(page.into_iter().filter(|child| child != root));
                    if is_last {
                        break;
                    }
                }
            }
            if level.is_empty() {
                break;
            }
            levels.push(level);
        }
        Ok(levels)
    }

    /// Waits until the client may cause this much work, and yields to other tasks.
    async fn wait_for_work(&self, access: &Access, addr: Option<SocketAddr>, units: usize) {
        let wait = self.limiter.reserve_work(access.who(addr).as_ref(), units);
        if wait.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(wait).await;
        }
    }

    async fn command_some(
        &self,
        access: &Access,
        addr: Option<SocketAddr>,
        command: &TreeCommand<'_>,
        tasks: &[TaskId],
        answers: &mut Vec<TaskCommanded>,
    ) -> Result<(), StoreError> {
        let mut asked = Vec::new();
        let mut events = Vec::new();
        for task_id in tasks {
            let forbidden = access.check(Permission::Command, task_id).err();
            if forbidden.is_some() && !access.allows(Permission::Watch, task_id) {
                continue;
            }
            let state = self.bus.find(task_id).await?;
            let runs = state.is_some_and(|state| !state.status.is_terminal());
            if !runs && task_id != command.root {
                continue;
            }
            if let Some(forbidden) = forbidden {
                answers.push(refused(task_id, ErrorCode::Forbidden, &forbidden));
                continue;
            }
            let command_id = CommandId::generate();
            events.push((task_id.clone(), command.event(&command_id)));
            asked.push((task_id, command_id));
        }
        let account = self.account(access, addr);
        let published = self.bus.publish_batch_for(&account, events).await;
        for ((task_id, command_id), published) in asked.into_iter().zip(published) {
            answers.push(match published {
                Ok(published) => TaskCommanded::Asked {
                    task_id: task_id.clone(),
                    command_id,
                    epoch: published.epoch,
                    offset: published.offset,
                },
                Err(error) => refused(task_id, PublishError::code(&error), &error),
            });
        }
        Ok(())
    }
}

impl Connection {
    /// Processes a client's command for a tree, and returns the answer.
    pub(crate) async fn command_tree(
        &self,
        reference: Option<Reference>,
        task_id: Option<TaskId>,
        command: &str,
        args: Option<&Data>,
    ) -> Result<Option<ControlMessage>, Refusal> {
        let root = self.task_or_path(task_id)?;
        let access = self.access();
        let by = access.subject().cloned();
        let command = TreeCommand {
            root: &root,
            command,
            args,
            by: by.as_deref().unwrap_or(self.client_id().as_str()),
        };
        let asked = self
            .manager()
            .command_tree(&access, self.remote_addr(), command);
        let tasks = asked.await?;
        Ok(reference.map(|reference| ControlMessage::commanded(Some(reference), root, tasks)))
    }
}

impl From<CommandTreeError> for Refusal {
    fn from(error: CommandTreeError) -> Self {
        Self::new(error.code(), chain(&error))
    }
}

fn refused(task_id: &TaskId, code: ErrorCode, error: &dyn std::error::Error) -> TaskCommanded {
    TaskCommanded::Refused {
        task_id: task_id.clone(),
        code,
        message: chain(error),
    }
}
