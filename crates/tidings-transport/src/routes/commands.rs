//! `POST /api/tasks/{task_id}/commands`.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tidings_connections::{Access, Permission};
use tidings_protocol::{CommandId, Data, Epoch, ErrorCode, NewEvent, Offset};

use super::events::parse_json;
use crate::body::{Body, json};
use crate::problem::{Problem, unavailable};
use crate::query;
use crate::service::{BoxError, Core};

#[derive(Deserialize)]
struct Command {
    command: String,
    args: Option<Data>,
}

#[derive(Serialize)]
struct Accepted {
    command_id: CommandId,
    epoch: Epoch,
    offset: Offset,
}

/// The name of clients without one: they have no token, or a token without a subject.
pub(crate) const BY: &str = "http";

impl Core {
    /// Sends a command to a task. The task answers with an event.
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
        let bytes = self.read_body(request, access).await?;
        let Command { command, args } = parse_json(&bytes, ErrorCode::InvalidMessage)?;
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
}
