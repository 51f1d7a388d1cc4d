//! `/api/tasks` and `/api/tasks/{task_id}`.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Response, StatusCode, Uri};
use tidings_bus::{Account, Charge, Kind, StoreError};
use tidings_connections::{Access, Permission};
use tidings_protocol::{ErrorCode, Target, TaskId, TaskSnapshot, TaskStatus};

use crate::body::{Body, charged_json, full, held_json};
use crate::problem::{Problem, unavailable};
use crate::query::{self, Query};
use crate::service::Core;

/// Tasks on a page, unless asked for otherwise.
const DEFAULT_LIMIT: usize = 100;

/// Tasks on a page at most: snapshots may have 64 KiB each.
const MAX_LIMIT: usize = 1_000;

/// Bytes of a page at most, unless one task alone has more.
pub(super) const MAX_PAGE_BYTES: usize = 1 << 20;

/// Snapshots looked up at a time.
const AT_A_TIME: usize = 64;

/// Bytes of an answer that are charged as one unit of work.
pub(super) const BYTES_A_UNIT: usize = 1_024;

/// A page, as text: `{"tasks":[…],"next":…}`, where `next` is the task to give as
/// `after` for the next page, and null on the last.
struct Page {
    text: String,
    count: usize,
    charge: Charge,
}

impl Page {
    fn new(account: &Account) -> Result<Self, Problem> {
        Ok(Self {
            text: "{\"tasks\":[".to_owned(),
            count: 0,
            charge: account.charge(Kind::Answer, 0)?,
        })
    }

    /// Takes up to `wanted` snapshots, as many as there is room for; gives how many.
    fn take(&mut self, found: &[Arc<TaskSnapshot>], wanted: usize) -> Result<usize, Problem> {
        for (number, snapshot) in found.iter().take(wanted).enumerate() {
            let json = serde_json::to_string(snapshot.as_ref())
                .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
            let length = self.text.len() + json.len() + 1;
            let is_first = self.count == 0;
            if !is_first && length > MAX_PAGE_BYTES {
                return Ok(number);
            }
            // A client that leaves answers unread gets shorter pages, and then none.
            match self.charge.try_resize(length as u64) {
                Err(over) if is_first => return Err(over.into()),
                Err(_) => return Ok(number),
                Ok(()) => {}
            }
            if !is_first {
                self.text.push(',');
            }
            self.text.push_str(&json);
            self.count += 1;
        }
        Ok(found.len().min(wanted))
    }

    fn respond(mut self, next: Option<&TaskId>) -> Response<Body> {
        self.text.push_str("],\"next\":");
        match next {
            // An id needs no escapes.
            Some(next) => self.text.push_str(&format!("\"{next}\"}}")),
            None => self.text.push_str("null}"),
        }
        charged_json(StatusCode::OK, self.text, self.charge)
    }
}

impl Core {
    /// A page of snapshots, in order of the tasks' ids.
    pub(crate) async fn list_tasks(
        &self,
        uri: &Uri,
        access: &Access,
        addr: Option<SocketAddr>,
    ) -> Result<Response<Body>, Problem> {
        let query = Query::of(uri);
        let status = query.get("status", ErrorCode::InvalidMessage)?;
        let after: Option<TaskId> = query.get("after", ErrorCode::InvalidTaskId)?;
        let prefix = query.text("prefix").unwrap_or_default();
        let limit = query
            .get::<usize>("limit", ErrorCode::InvalidMessage)?
            .unwrap_or(DEFAULT_LIMIT)
            .clamp(1, MAX_LIMIT);
        self.manager.check_work(access, addr)?;
        let account = self.manager.account(access, addr);
        let mut page = Page::new(&account)?;
        let mut after = after;
        let next = loop {
            // Few at a time: of a store that nodes share they are copies.
            let wanted = (limit - page.count).min(AT_A_TIME);
            // One more than that tells whether there are others.
            let found = self.list_watched(access, &prefix, status, after.as_ref(), wanted + 1);
            let found = found.await.map_err(unavailable)?;
            let taken = page.take(&found, wanted)?;
            if let Some(last) = taken.checked_sub(1) {
                after = Some(found[last].task_id.clone());
            }
            if taken == found.len() {
                break None;
            }
            if taken < wanted || page.count == limit {
                break after;
            }
            // Others' turn: a long page takes ten milliseconds.
            tokio::task::yield_now().await;
        };
        let units = page.count + page.text.len() / BYTES_A_UNIT;
        self.manager.note_work(access, addr, units.max(1));
        Ok(page.respond(next.as_ref()))
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
