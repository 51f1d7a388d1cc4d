//! `/api/tasks` and `/api/tasks/{task_id}`.

use http::{Response, StatusCode, Uri};
use serde::Serialize;
use tidings_protocol::{ErrorCode, TaskId, TaskSnapshot};

use crate::body::{Body, full, json};
use crate::problem::Problem;
use crate::query::{self, Query};
use crate::service::Core;

/// Tasks on a page, unless asked for otherwise.
const DEFAULT_LIMIT: usize = 100;

/// Tasks on a page at most: snapshots may have 64 KiB each.
const MAX_LIMIT: usize = 1_000;

#[derive(Serialize)]
struct Page<'a> {
    tasks: Vec<&'a TaskSnapshot>,
    /// The task to give as `after` for the next page; null on the last.
    next: Option<&'a TaskId>,
}

impl Core {
    /// A page of snapshots, in order of the tasks' ids.
    pub(crate) fn list_tasks(&self, uri: &Uri) -> Result<Response<Body>, Problem> {
        let query = Query::of(uri);
        let status = query.get("status", ErrorCode::InvalidMessage)?;
        let after: Option<TaskId> = query.get("after", ErrorCode::InvalidTaskId)?;
        let prefix = query.text("prefix").unwrap_or_default();
        let limit = query
            .get::<usize>("limit", ErrorCode::InvalidMessage)?
            .unwrap_or(DEFAULT_LIMIT)
            .clamp(1, MAX_LIMIT);
        // One more than asked for tells whether there is a next page.
        let found = self
            .manager
            .bus()
            .list(&prefix, status, after.as_ref(), limit + 1);
        let tasks: Vec<_> = found.iter().take(limit).map(AsRef::as_ref).collect();
        let next = tasks
            .last()
            .filter(|_| found.len() > limit)
            .map(|snapshot| &snapshot.task_id);
        Ok(json(StatusCode::OK, &Page { next, tasks }))
    }

    /// A task's snapshot.
    pub(crate) fn get_task(&self, id: &str) -> Result<Response<Body>, Problem> {
        let task_id = query::task_id(id)?;
        let snapshot = self
            .manager
            .bus()
            .snapshot(&task_id)
            .ok_or_else(|| Problem::task_not_found(&task_id))?;
        Ok(json(StatusCode::OK, snapshot.as_ref()))
    }

    /// Removes a task.
    pub(crate) async fn delete_task(&self, id: &str) -> Result<Response<Body>, Problem> {
        let task_id = query::task_id(id)?;
        let removed = self.manager.bus().remove(&task_id).await.map_err(|error| {
            Problem::new(ErrorCode::Unavailable, tidings_connections::chain(&error))
        })?;
        if !removed {
            return Err(Problem::task_not_found(&task_id));
        }
        let mut response = Response::new(full(Vec::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }
}
