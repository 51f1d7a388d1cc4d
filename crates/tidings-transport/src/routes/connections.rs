//! `/api/connections`: lists and closes connections, and sends personal messages.

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tidings_connections::{Access, ConnectionInfo, Permission, UnknownClient};
use tidings_protocol::{ClientId, Data, ErrorCode, EventType, Offset, TaskId};

use super::events::parse_json;
use crate::body::{Body, full, json};
use crate::problem::{Problem, unavailable};
use crate::query::{self, Query};
use crate::service::{BoxError, Core};

#[derive(Serialize)]
struct List {
    connections: Vec<ConnectionInfo>,
}

#[derive(Deserialize)]
struct Message {
    event_type: EventType,
    #[serde(default = "Data::empty")]
    data: Data,
}

#[derive(Serialize)]
struct Sent {
    /// The message's offset in the client's inbox.
    offset: Offset,
}

fn client_id(raw: &str) -> Result<ClientId, Problem> {
    query::path_part(raw)?
        .parse()
        .map_err(|error| Problem::bad_request(format!("{error}")))
}

impl Core {
    pub(crate) async fn list_connections(
        &self,
        uri: &Uri,
        access: &Access,
    ) -> Result<Response<Body>, Problem> {
        let task: Option<TaskId> = Query::of(uri).get("task", ErrorCode::InvalidTaskId)?;
        // The answer also shows what else the clients watch, so `admin` for one task is not enough.
        access.check_everything(Permission::Admin)?;
        if self.manager.node_name().is_some() {
            let all = self.manager.all_connections(task.as_ref()).await;
            return Ok(json(StatusCode::OK, &all));
        }
        let connections = self.manager.connections(task.as_ref());
        Ok(json(StatusCode::OK, &List { connections }))
    }

    pub(crate) async fn get_connection(&self, id: &str) -> Result<Response<Body>, Problem> {
        let id = client_id(id)?;
        if self.manager.node_name().is_some() {
            let info = self.manager.any_connection(&id).await?;
            return Ok(json(StatusCode::OK, &info.ok_or(UnknownClient(id))?));
        }
        let info = self.manager.connection(&id).ok_or(UnknownClient(id))?;
        Ok(json(StatusCode::OK, &info))
    }

    pub(crate) async fn kick(&self, id: &str) -> Result<Response<Body>, Problem> {
        let id = client_id(id)?;
        if !self.manager.kick(&id).await.map_err(unavailable)? {
            return Err(UnknownClient(id).into());
        }
        let mut response = Response::new(full(Vec::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    pub(crate) async fn send_message<B>(
        &self,
        request: Request<B>,
        id: &str,
        access: &Access,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let id = client_id(id)?;
        let bytes = self.read_body(request, access).await?;
        let max = self.manager.config().max_message_bytes;
        if bytes.len() > max {
            let detail = format!("a personal message may have at most {max} bytes");
            return Err(Problem::new(ErrorCode::TooLarge, detail));
        }
        let Message { event_type, data } = parse_json(&bytes, ErrorCode::InvalidEvent)?;
        let offset = self.manager.send_personal(&id, event_type, data).await?;
        Ok(json(StatusCode::ACCEPTED, &Sent { offset }))
    }
}
