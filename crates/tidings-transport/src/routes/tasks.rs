//! `/api/tasks` and `/api/tasks/{task_id}`.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Response, StatusCode, Uri};
use tidings_bus::{EventBus, StoreError};
use tidings_connections::{Access, Permission};
use tidings_protocol::{ErrorCode, Target, TaskId, TaskSnapshot, TaskStatus};

use super::page::{BYTES_A_UNIT, Page};
use crate::body::{Body, full, held_json};
use crate::problem::{Problem, unavailable};
use crate::query::{self, Query};
use crate::service::Core;

/// The default number of tasks on a page.
const DEFAULT_LIMIT: usize = 100;

/// The most tasks on a page. Each snapshot may have 64 KiB.
const MAX_LIMIT: usize = 1_000;

/// The number of snapshots that are looked up at a time.
const AT_A_TIME: usize = 64;

/// Adds up to `wanted` snapshots, as far as the page has room. Returns how many were added.
fn take(page: &mut Page, found: &[Arc<TaskSnapshot>], wanted: usize) -> Result<usize, Problem> {
    for (number, snapshot) in found.iter().take(wanted).enumerate() {
        let json = serde_json::to_string(snapshot.as_ref())
            .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
        if !page.push(&json)? {
            return Ok(number);
        }
    }
    Ok(found.len().min(wanted))
}

/// The filter of a list of tasks.
struct Listed {
    prefix: String,
    status: Option<TaskStatus>,
    parent: Option<TaskId>,
}

impl Listed {
    fn wants(&self, state: &TaskSnapshot) -> bool {
        let parent = self.parent.as_ref();
        self.status.is_none_or(|status| state.status == status)
            && (parent.is_none() || state.parent_task_id.as_ref() == parent)
    }

    /// Returns the tasks of one range of ids.
    async fn find_range(
        &self,
        bus: &EventBus,
        prefix: &str,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        match &self.parent {
            Some(parent) => {
                bus.find_children(parent, prefix, self.status, after, limit)
                    .await
            }
            None => bus.find_all(prefix, self.status, after, limit).await,
        }
    }
}

impl Core {
    /// Returns a page of snapshots, sorted by task id.
    pub(crate) async fn list_tasks(
        &self,
        uri: &Uri,
        access: &Access,
        addr: Option<SocketAddr>,
    ) -> Result<Response<Body>, Problem> {
        let query = Query::of(uri);
        let status = query.get("status", ErrorCode::InvalidMessage)?;
        let after: Option<TaskId> = query.get("after", ErrorCode::InvalidTaskId)?;
        let listed = Listed {
            status,
            prefix: query.text("prefix").unwrap_or_default(),
            parent: query.get("parent", ErrorCode::InvalidTaskId)?,
        };
        let limit = query
            .get::<usize>("limit", ErrorCode::InvalidMessage)?
            .unwrap_or(DEFAULT_LIMIT)
            .clamp(1, MAX_LIMIT);
        let account = self.manager.account(access, addr);
        let mut page = Page::new("tasks", &account)?;
        let mut after = after;
        let next = loop {
            // Look up few at a time, because snapshots from a shared store are copies.
            let wanted = (limit - page.count()).min(AT_A_TIME);
            // The work is charged before it is done. Many requests of one client therefore wait for
            // each other, and other clients have their turns in between.
            match self.manager.reserve_work(access, addr, wanted).await {
                Ok(()) => {}
                Err(limited) if page.count() == 0 => return Err(limited.into()),
                Err(_) => break after,
            }
            let before = page.bytes();
            // One additional task shows whether there is a next page.
            let found = self.list_watched(access, &listed, after.as_ref(), wanted + 1);
            let found = found.await.map_err(unavailable)?;
            let taken = take(&mut page, &found, wanted)?;
            let kib = (page.bytes() - before) / BYTES_A_UNIT;
            self.manager.note_work(access, addr, kib);
            self.manager
                .spare_work(access, addr, wanted - taken.clamp(1, wanted));
            if let Some(last) = taken.checked_sub(1) {
                after = Some(found[last].task_id.clone());
            }
            if taken == found.len() {
                break None;
            }
            if taken < wanted || page.count() == limit {
                break after;
            }
            // Yield, because a long page takes ten milliseconds.
            tokio::task::yield_now().await;
        };
        page.respond(next.as_ref())
    }

    /// Returns the tasks that the client may watch, one range of ids after the other.
    async fn list_watched(
        &self,
        access: &Access,
        listed: &Listed,
        after: Option<&TaskId>,
        limit: usize,
    ) -> Result<Vec<Arc<TaskSnapshot>>, StoreError> {
        let bus = self.manager.bus();
        let prefix = listed.prefix.as_str();
        let Some(scope) = access.scope(Permission::Watch) else {
            return listed.find_range(bus, prefix, after, limit).await;
        };
        let mut found = Vec::new();
        for part in scope.within(prefix) {
            let wanted = limit - found.len();
            if wanted == 0 {
                break;
            }
            match part {
                Target::Task(id) | Target::Tree(id) => found.extend(
                    bus.find(&id)
                        .await?
                        .filter(|_| after.is_none_or(|after| id > *after))
                        .filter(|known| listed.wants(known)),
                ),
                Target::Pattern(pattern) => {
                    // A range that ends before `after` returns nothing.
                    let range = listed.find_range(bus, pattern.prefix(), after, wanted);
                    found.extend(range.await?);
                }
            }
        }
        Ok(found)
    }

    /// Returns the snapshot of a task.
    pub(crate) async fn get_task(
        &self,
        id: &str,
        access: &Access,
        addr: Option<SocketAddr>,
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
        let json = serde_json::to_vec(snapshot.as_ref())
            .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
        held_json(StatusCode::OK, json, &self.manager.account(access, addr))
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
