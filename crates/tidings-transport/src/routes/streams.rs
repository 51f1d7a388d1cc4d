//! `/api/events`: the events of several tasks on one stream.

use std::collections::HashSet;
use std::fmt::Display;
use std::str::FromStr;

use http::{HeaderMap, Request, Response};
use tidings_connections::{Access, ConnectRequest};
use tidings_protocol::{ErrorCode, Pattern, Since, Target, TaskId};

use super::connect::{last_event_id, peer_of};
use crate::body::Body;
use crate::problem::Problem;
use crate::query::Query;
use crate::service::Core;
use crate::sse::SseWire;
use crate::stream_position::StreamPosition;

/// The most tasks, patterns and trees of one stream. Each event's `id:` has the positions of all
/// tasks, and a browser sends the last one back in a header.
const MAX_TARGETS: usize = 64;

impl Core {
    /// Opens a stream of all tasks, patterns and trees in the query.
    pub(crate) async fn stream_of_many<B>(
        &self,
        request: Request<B>,
        access: Access,
    ) -> Result<Response<Body>, Problem> {
        let mut connect = ConnectRequest::new(access);
        connect.peer = peer_of(&request);
        // Drop the body before the first await, because it need not be `Sync`.
        let (parts, _) = request.into_parts();
        let query = Query::of(&parts.uri);
        connect.targets = targets(&query, &parts.headers)?;
        connect.history = query.get("history", ErrorCode::InvalidMessage)?;
        let addr = connect.peer.remote_addr;
        let units = connect.targets.len();
        self.manager
            .reserve_work(&connect.access, addr, units)
            .await?;
        self.open_stream(connect, &SseWire::ManyTasks).await
    }
}

/// Returns what the client asks for, each once, with the position to continue from.
fn targets(
    query: &Query<'_>,
    headers: &HeaderMap,
) -> Result<Vec<(Target, Option<Since>)>, Problem> {
    // When an `EventSource` reconnects, its header is newer than the positions in its URL. A task
    // that the header does not name had not begun yet.
    let mut newer = last_event_id::<StreamPosition>(headers)?.unwrap_or_default();
    let mut first: StreamPosition = query
        .get("since", ErrorCode::InvalidMessage)?
        .unwrap_or_default();
    let mut targets = Vec::new();
    for task_id in all::<TaskId>(query, "task", ErrorCode::InvalidTaskId)? {
        let first = first.take(&task_id);
        let since = newer.take(&task_id).or(first);
        targets.push((Target::Task(task_id), since));
    }
    for pattern in all::<Pattern>(query, "pattern", ErrorCode::InvalidMessage)? {
        targets.push((Target::Pattern(pattern), None));
    }
    for root in all::<TaskId>(query, "tree", ErrorCode::InvalidTaskId)? {
        targets.push((Target::Tree(root), None));
    }
    let mut seen = HashSet::new();
    targets.retain(|(target, _)| seen.insert(target.clone()));
    match targets.len() {
        0 => Err(Problem::bad_request(
            "name what to watch: at least one parameter `task`, `pattern` or `tree`",
        )),
        1..=MAX_TARGETS => Ok(targets),
        count => Err(Problem::new(
            ErrorCode::TooManySubscriptions,
            format!(
                "{count} tasks, patterns and trees are too many for one stream; name at most \
                 {MAX_TARGETS}, open another stream, or subscribe over WebSocket"
            ),
        )),
    }
}

/// Returns all parameters with this name, parsed.
fn all<T: FromStr<Err: Display>>(
    query: &Query<'_>,
    name: &str,
    code: ErrorCode,
) -> Result<Vec<T>, Problem> {
    let parse = |text: String| {
        let parsed = text.parse();
        parsed.map_err(|error| Problem::new(code, format!("parameter `{name}`: {error}")))
    };
    query.texts(name).map(parse).collect()
}
