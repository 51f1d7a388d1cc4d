//! `/api/inputs` and `/api/tasks/{task_id}/inputs/{input_id}`: questions and answers.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tidings_bus::{AnswerError, PublishError, StoreError};
use tidings_connections::{Access, Permission, Scope, chain};
use tidings_protocol::{ErrorCode, Json, PendingInput, Target, TaskId, TaskSnapshot};

use super::commands::BY;
use super::events::parse_json;
use super::page::{BYTES_A_UNIT, Page};
use crate::body::{Body, json};
use crate::problem::{Problem, unavailable};
use crate::query::{self, Query};
use crate::service::{BoxError, Core, PeerAddr};

/// Questions on a page, unless asked for otherwise.
const DEFAULT_LIMIT: usize = 100;

/// Questions on a page at most, but for those of its last task.
const MAX_LIMIT: usize = 1_000;

/// Tasks looked up at a time.
const AT_A_TIME: usize = 64;

/// An open question, as the inbox lists it.
#[derive(Serialize)]
struct OpenInput<'a> {
    task_id: &'a TaskId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(flatten)]
    input: &'a PendingInput,
}

#[derive(Deserialize)]
struct Answer {
    value: Json,
}

/// Returns a task's questions as they stand in a page.
fn questions(state: &TaskSnapshot) -> Result<String, Problem> {
    let open = state.pending_inputs.iter().map(|input| {
        serde_json::to_string(&OpenInput {
            task_id: &state.task_id,
            name: state.name.as_deref(),
            input,
        })
    });
    let open: Result<Vec<_>, _> = open.collect();
    let open = open.map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
    Ok(open.join(","))
}

impl Core {
    /// A page of open questions that may be answered, in order of their tasks' ids.
    pub(crate) async fn list_inputs(
        &self,
        uri: &Uri,
        access: &Access,
        addr: Option<SocketAddr>,
    ) -> Result<Response<Body>, Problem> {
        let query = Query::of(uri);
        if let Some(status) = query.text("status").filter(|status| status != "open") {
            let detail = format!("parameter `status`: {status:?} is not `open`");
            return Err(Problem::bad_request(detail));
        }
        let mut after: Option<TaskId> = query.get("after", ErrorCode::InvalidTaskId)?;
        let prefix = query.text("prefix").unwrap_or_default();
        let limit = query
            .get::<usize>("limit", ErrorCode::InvalidMessage)?
            .unwrap_or(DEFAULT_LIMIT)
            .clamp(1, MAX_LIMIT);
        let scope = access.answerable();
        let mut page = Page::new("inputs", &self.manager.account(access, addr))?;
        let (mut count, mut looked) = (0, 0);
        let next = 'page: loop {
            match self.manager.turn(access, addr, AT_A_TIME).await {
                Ok(()) => {}
                Err(limited) if looked == 0 => return Err(limited.into()),
                Err(_) => break after,
            }
            let found = self.list_asking(scope.as_ref(), &prefix, after.as_ref(), AT_A_TIME);
            let found = found.await.map_err(unavailable)?;
            let spared = AT_A_TIME - found.len().clamp(1, AT_A_TIME);
            self.manager.spare_work(access, addr, spared);
            for state in &found {
                looked += 1;
                if state.pending_inputs.is_empty() {
                    after = Some(state.task_id.clone());
                    continue;
                }
                if count >= limit || !page.push(&questions(state)?)? {
                    break 'page after;
                }
                count += state.pending_inputs.len();
                after = Some(state.task_id.clone());
            }
            if found.len() < AT_A_TIME {
                break None;
            }
            if looked >= MAX_LIMIT {
                break after;
            }
            tokio::task::yield_now().await;
        };
        self.manager
            .note_work(access, addr, page.bytes() / BYTES_A_UNIT);
        Ok(page.respond(next.as_ref()))
    }

    /// Tasks with open questions that may be answered, range by range of their ids.
    async fn list_asking(
        &self,
        scope: Option<&Scope>,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        let bus = self.manager.bus();
        let Some(scope) = scope else {
            return bus.find_asking(prefix, after, limit).await;
        };
        let mut found = Vec::new();
        for part in scope.within(prefix) {
            let wanted = limit - found.len();
            match part {
                _ if wanted == 0 => break,
                Target::Task(id) if after.is_none_or(|after| id > *after) => {
                    found.extend(bus.find(&id).await?);
                }
                Target::Task(_) => {}
                Target::Pattern(pattern) => {
                    let range = bus.find_asking(pattern.prefix(), after, wanted);
                    found.extend(range.await?);
                }
            }
        }
        Ok(found)
    }

    /// Answers a question of a task: 201 with the answer's position.
    pub(crate) async fn answer_input<B>(
        &self,
        request: Request<B>,
        (task, input): (&str, &str),
        access: &Access,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let task_id = query::task_id(task)?;
        access.check(Permission::Answer, &task_id)?;
        let input_id = query::item_id(input)?;
        let addr = request.extensions().get().map(|PeerAddr(addr)| *addr);
        let bytes = self.read_body(request, access).await?;
        let Answer { value } = parse_json(&bytes, ErrorCode::InvalidMessage)?;
        let by = access.subject().map_or(BY, |subject| subject);
        let account = self.manager.account(access, addr);
        let bus = self.manager.bus();
        let published = bus.answer_for(&account, &task_id, &input_id, &value, by);
        Ok(json(StatusCode::CREATED, &published.await?))
    }
}

impl From<AnswerError> for Problem {
    fn from(error: AnswerError) -> Self {
        match &error {
            AnswerError::NoTask(task_id) => Self::task_not_found(task_id),
            AnswerError::Publish(PublishError::NoQuestion { .. }) => {
                Self::plain(StatusCode::NOT_FOUND, error.to_string())
            }
            AnswerError::Publish(cause @ PublishError::QuestionEnded { by: Some(by), .. }) => {
                Self::new(cause.code(), cause.to_string()).answered_by(by)
            }
            AnswerError::Publish(cause) => Self::new(cause.code(), chain(cause)),
            _ => Self::new(ErrorCode::InvalidEvent, chain(&error)),
        }
    }
}
