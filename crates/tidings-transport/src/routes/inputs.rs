//! `/api/inputs` and `/api/tasks/{task_id}/inputs/{input_id}`: questions and answers.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize, Serializer};
use tidings_bus::{AnswerError, PublishError, StoreError};
use tidings_connections::{Access, Permission, Scope, chain};
use tidings_protocol::{
    ErrorCode, IdError, ItemId, Json, PendingInput, Target, TaskId, TaskSnapshot,
};

use super::commands::BY;
use super::events::parse_json;
use super::page::{BYTES_A_UNIT, Page};
use crate::body::{Body, json};
use crate::problem::{Problem, unavailable};
use crate::query::{self, Query};
use crate::service::{BoxError, Core, PeerAddr};

/// The default number of questions on a page.
const DEFAULT_LIMIT: usize = 100;

/// The most questions on a page.
const MAX_LIMIT: usize = 1_000;

/// The number of tasks that are looked up at a time.
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
    value: Option<Json>,
}

/// The place of a question in the list, or of a task after its last question. The text is
/// `TASK/QUESTION` or `TASK`.
struct Place {
    task_id: TaskId,
    /// The question. `None` comes after all questions of the task.
    input_id: Option<ItemId>,
}

impl FromStr for Place {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        // An id of a task has no slash.
        let (task_id, input_id) = match text.split_once('/') {
            Some((task_id, input_id)) => (task_id, Some(input_id.parse()?)),
            None => (text, None),
        };
        let task_id = task_id.parse()?;
        Ok(Self { task_id, input_id })
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.input_id {
            Some(input_id) => write!(f, "{}/{input_id}", self.task_id),
            None => write!(f, "{}", self.task_id),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns an open question as text for a page.
fn entry(state: &TaskSnapshot, input: &PendingInput) -> Result<String, Problem> {
    let open = OpenInput {
        task_id: &state.task_id,
        name: state.name.as_deref(),
        input,
    };
    serde_json::to_string(&open)
        .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))
}

impl Core {
    /// Returns a page of open questions that the client may answer, sorted by task id and by the
    /// question's id.
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
        let mut after: Option<Place> = query.get("after", ErrorCode::InvalidTaskId)?;
        let prefix = query.text("prefix").unwrap_or_default();
        let limit = query
            .get::<usize>("limit", ErrorCode::InvalidMessage)?
            .unwrap_or(DEFAULT_LIMIT)
            .clamp(1, MAX_LIMIT);
        let scope = access.answerable();
        let mut page = Page::new("inputs", &self.manager.account(access, addr))?;
        let mut looked = 0;
        let next = 'page: loop {
            match self.manager.reserve_work(access, addr, AT_A_TIME).await {
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
                let first = after
                    .as_ref()
                    .filter(|after| after.task_id == state.task_id);
                let first = first.and_then(|after| after.input_id.clone());
                let inputs = state.pending_inputs.iter();
                let left = |input: &&PendingInput| first.as_ref() < Some(&input.input_id);
                let mut inputs: Vec<_> = inputs.filter(left).collect();
                inputs.sort_by(|a, b| a.input_id.cmp(&b.input_id));
                for input in inputs {
                    if page.count() >= limit || !page.push(&entry(state, input)?)? {
                        break 'page after;
                    }
                    after = Some(Place {
                        task_id: state.task_id.clone(),
                        input_id: Some(input.input_id.clone()),
                    });
                }
                after = Some(Place {
                    task_id: state.task_id.clone(),
                    input_id: None,
                });
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
        page.respond(next.as_ref())
    }

    /// Returns tasks with open questions that the client may answer, one range of ids after the
    /// other. The first one is the task in which the page before ended.
    async fn list_asking(
        &self,
        scope: Option<&Scope>,
        prefix: &str,
        after: Option<&Place>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        let bus = self.manager.bus();
        let mut found = Vec::new();
        if let Some(Place {
            task_id,
            input_id: Some(_),
        }) = after
            && task_id.as_str().starts_with(prefix)
            && scope.is_none_or(|scope| scope.allows(task_id))
        {
            found.extend(bus.find(task_id).await?);
        }
        let after = after.map(|after| &after.task_id);
        let Some(scope) = scope else {
            let range = bus.find_asking(prefix, after, limit - found.len());
            found.extend(range.await?);
            return Ok(found);
        };
        for part in scope.within(prefix) {
            let wanted = limit - found.len();
            match part {
                _ if wanted == 0 => break,
                Target::Task(id) | Target::Tree(id) if after.is_none_or(|after| id > *after) => {
                    found.extend(bus.find(&id).await?);
                }
                Target::Task(_) | Target::Tree(_) => {}
                Target::Pattern(pattern) => {
                    let range = bus.find_asking(pattern.prefix(), after, wanted);
                    found.extend(range.await?);
                }
            }
        }
        Ok(found)
    }

    /// Answers a question of a task. The response has status 201 and the position of the answer.
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
        let value = value.ok_or_else(|| {
            Problem::bad_request("`value` is missing: an answer is any JSON value but null")
        })?;
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
            AnswerError::Publish(cause @ PublishError::QuestionEnded { by: Some(by), .. }) => {
                Self::new(cause.code(), cause.to_string()).answered_by(by)
            }
            AnswerError::Publish(cause) => Self::new(cause.code(), chain(cause)),
            _ => Self::new(ErrorCode::InvalidEvent, chain(&error)),
        }
    }
}
