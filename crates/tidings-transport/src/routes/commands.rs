//! `POST /api/tasks/{task_id}/commands`.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tidings_connections::{Access, Permission, TreeCommand};
use tidings_protocol::{CommandId, Data, Epoch, ErrorCode, NewEvent, Offset, TaskCommanded};

use super::events::parse_json;
use crate::body::{Body, held_json, json};
use crate::problem::{Problem, unavailable};
use crate::query;
use crate::service::{BoxError, Core, PeerAddr};

#[derive(Deserialize)]
struct Command {
    command: String,
    args: Option<Data>,
    /// `true` if all tasks below the task are asked as well.
    #[serde(default)]
    tree: bool,
}

#[derive(Serialize)]
struct Accepted {
    command_id: CommandId,
    epoch: Epoch,
    offset: Offset,
}

#[derive(Serialize)]
struct Commanded {
    tasks: Vec<TaskCommanded>,
}

/// The name of clients without one: they have no token, or a token without a subject.
pub(crate) const BY: &str = "http";

impl Core {
    /// Sends a command to a task, or to a task and all tasks below it. Each task answers with an
    /// event.
    pub(crate) async fn command<B>(
        &self,
        request: Request<B>,
        id: &str,
        access: &Access,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let task_id = query::task_id(id)?;
        access.check(Permission::Command, &task_id)?;
        let addr = request.extensions().get().map(|PeerAddr(addr)| *addr);
        let bytes = self.read_body(request, access).await?;
        let Command {
            command,
            args,
            tree,
        } = parse_json(&bytes, ErrorCode::InvalidMessage)?;
        if tree {
            let command = TreeCommand {
                root: &task_id,
                command: &command,
                args: args.as_ref(),
                by: access.subject().map_or(BY, |subject| subject),
            };
            return self.command_tree(access, addr, command).await;
        }
        let bus = self.manager.bus();
        let known = bus.find(&task_id).await.map_err(unavailable)?;
        if known.is_none() {
            return Err(Problem::task_not_found(&task_id));
        }
        let by = access.subject().map_or(BY, |subject| subject);
        let command_id = CommandId::generate();
        let event = NewEvent::command_requested(&command_id, &command, args.as_ref(), by);
        let published = bus.publish(&task_id, event).await?;
        let accepted = Accepted {
            command_id,
            epoch: published.epoch,
            offset: published.offset,
        };
        Ok(json(StatusCode::ACCEPTED, &accepted))
    }

    async fn command_tree(
        &self,
        access: &Access,
        addr: Option<SocketAddr>,
        command: TreeCommand<'_>,
    ) -> Result<Response<Body>, Problem> {
        let tasks = self.manager.command_tree(access, addr, command).await?;
        let refused = |answer: &TaskCommanded| matches!(answer, TaskCommanded::Refused { .. });
        let status = if tasks.iter().any(refused) {
            StatusCode::MULTI_STATUS
        } else {
            StatusCode::ACCEPTED
        };
        let json = serde_json::to_vec(&Commanded { tasks })
            .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
        held_json(status, json, &self.manager.account(access, addr))
    }
}
