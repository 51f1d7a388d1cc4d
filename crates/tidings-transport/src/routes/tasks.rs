//! `/api/tasks` and `/api/tasks/{task_id}`.

use std::sync::Arc;

use http::{Response, StatusCode, Uri};
use serde::Serialize;
use tidings_bus::StoreError;
use tidings_connections::{Access, Permission};
use tidings_protocol::{ErrorCode, Target, TaskId, TaskSnapshot, TaskStatus};

use crate::body::{Body, full, json};
use crate::problem::{Problem, unavailable};
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
    pub(crate) async fn list_tasks(
        &self,
        uri: &Uri,
        access: &Access,
    ) -> Result<Response<Body>, Problem> {
        let query = Query::of(uri);
        let status = query.get("status", ErrorCode::InvalidMessage)?;
        let after: Option<TaskId> = query.get("after", ErrorCode::InvalidTaskId)?;
        let prefix = query.text("prefix").unwrap_or_default();
        let limit = query
            .get::<usize>("limit", ErrorCode::InvalidMessage)?
            .unwrap_or(DEFAULT_LIMIT)
            .clamp(1, MAX_LIMIT);
        // One more than asked for tells whether there is a next page.
        let watched = self.list_watched(access, &prefix, status, after.as_ref(), limit + 1);
        let found = watched.await.map_err(unavailable)?;
        let tasks: Vec<_> = found.iter().take(limit).map(AsRef::as_ref).collect();
        let next = tasks
            .last()
            .filter(|_| found.len() > limit)
            .map(|snapshot| &snapshot.task_id);
        Ok(json(StatusCode::OK, &Page { next, tasks }))
    }

    /// The tasks that may be watched, range by range of their ids.
    async fn list_watched(
        &self,
        access: &Access,
        prefix: &str,
        status: Option<TaskStatus>,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        let bus = self.manager.bus();
        let Some(scope) = access.scope(Permission::Watch) else {
            return bus.find_all(prefix, status, after, limit).await;
        };
        let mut found = Vec::new();
        for part in scope.within(prefix) {
            let wanted = limit - found.len();
            if wanted == 0 {
                break;
            }
            match part {
                Target::Task(id) => found.extend(
                    bus.find(&id)
                        .await?
                        .filter(|_| after.is_none_or(|after| id > *after))
                        .filter(|known| status.is_none_or(|status| known.status == status)),
                ),
                Target::Pattern(pattern) => {
                    // A range that lies behind us yields nothing by itself.
                    let range = bus.find_all(pattern.prefix(), status, after, wanted);
                    found.extend(range.await?);
                }
            }
        }
        Ok(found)
    }

    /// A task's snapshot.
    pub(crate) async fn get_task(
        &self,
        id: &str,
        access: &Access,
    ) -> Result<Response<Body>, Problem> {
        let task_id = query::task_id(id)?;
        access.check(Permission::Watch, &task_id)?;
        let snapshot = self
            .manager
            .bus()
            .find(&task_id)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| Problem::task_not_found(&task_id))?;
        Ok(json(StatusCode::OK, snapshot.as_ref()))
    }

    /// Removes a task.
    pub(crate) async fn delete_task(
        &self,
        id: &str,
        access: &Access,
    ) -> Result<Response<Body>, Problem> {
        let task_id = query::task_id(id)?;
        access.check(Permission::Admin, &task_id)?;
        let removed = self
            .manager
            .bus()
            .remove(&task_id)
            .await
            .map_err(unavailable)?;
        if !removed {
            return Err(Problem::task_not_found(&task_id));
        }
        let mut response = Response::new(full(Vec::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }
}
