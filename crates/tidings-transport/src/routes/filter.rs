//! The filters `type=` and `text=` of a page of history.

use serde_json::Value;
use tidings_bus::{EventBus, EventRecord, HistoryPage, SkipPolicy};
use tidings_protocol::{ErrorCode, EventType, Since, TaskId};

use super::page::MAX_PAGE_BYTES;
use crate::problem::Problem;
use crate::query::Query;

/// The most events that one request reads. The answer then says where to continue, even if it
/// contains no events.
const MAX_SCANNED: usize = 20_000;

/// The number of events that are read from the bus at a time.
const STEP: usize = 1_000;

/// A page, and the work that it took to find.
pub(crate) struct Scanned {
    pub(crate) page: HistoryPage,
    /// The number of events that were read, including those left out.
    pub(crate) events: usize,
}

impl Scanned {
    /// Wraps a page from which nothing was left out.
    pub(crate) fn of(page: HistoryPage) -> Self {
        let events = page.events.len();
        Self { page, events }
    }
}

/// Selects events by their type and by a text in their data.
#[derive(Debug, Default)]
pub(crate) struct EventFilter {
    /// The types to keep. Empty keeps all types.
    types: Vec<EventType>,
    /// The text to search for, in lower case.
    text: Option<String>,
}

impl EventFilter {
    /// Reads the filter from a query. `type` lists types, separated by commas. Returns `None` if
    /// the query leaves nothing out.
    pub(crate) fn of(query: &Query<'_>) -> Result<Option<Self>, Problem> {
        let named = query.text("type").unwrap_or_default();
        let types = named
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| {
                EventType::new(name).map_err(|error| {
                    Problem::new(
                        ErrorCode::InvalidMessage,
                        format!("parameter `type`: {name:?}: {error}"),
                    )
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let text = query.text("text").map(|text| text.to_lowercase());
        let filter = Self { types, text };
        Ok((!filter.types.is_empty() || filter.text.is_some()).then_some(filter))
    }

    fn keeps(&self, event: &EventRecord) -> bool {
        let event_type = event.event_type();
        if !self.types.is_empty() && !self.types.contains(event_type) {
            return false;
        }
        let Some(text) = &self.text else {
            return true;
        };
        event_type.as_str().contains(text.as_str())
            || serde_json::from_str(event.data_json()).is_ok_and(|data| holds(&data, text))
    }

    /// Reads events until `limit` of them match, the log ends, or [`MAX_SCANNED`] events were read.
    /// Returns `None` for a task without events.
    ///
    /// `next` continues after events that were left out. There is no gap for them.
    pub(crate) async fn page(
        &self,
        bus: &EventBus,
        task_id: &TaskId,
        since: Option<Since>,
        limit: usize,
    ) -> Option<Scanned> {
        // A search starts with the oldest events, not with the newest.
        let since = since.unwrap_or(Since::Start);
        // A merged event has lost texts that a search may be for.
        let bounds = (STEP, MAX_PAGE_BYTES);
        let step = |since| bus.history_within(task_id, Some(since), bounds, SkipPolicy::NEVER);
        let mut found = step(since).await?;
        let mut read = std::mem::take(&mut found.events);
        let mut scanned = 0;
        let mut bytes = 0;
        loop {
            let is_last = read.is_empty();
            for event in read {
                scanned += 1;
                found.next = event.position();
                if self.keeps(&event) {
                    bytes += event.json().len();
                    found.events.push(event);
                }
                if found.events.len() >= limit || bytes >= MAX_PAGE_BYTES {
                    return Some(Scanned {
                        page: found,
                        events: scanned,
                    });
                }
            }
            if is_last || scanned >= MAX_SCANNED {
                return Some(Scanned {
                    page: found,
                    events: scanned,
                });
            }
            let page = step(Since::from(found.next.clone())).await?;
            if found.gap.is_none() {
                found.gap = page.gap;
            }
            read = page.events;
        }
    }
}

/// Returns whether a string or a number anywhere in the data contains the text.
fn holds(data: &Value, text: &str) -> bool {
    match data {
        Value::String(string) => string.to_lowercase().contains(text),
        Value::Number(number) => number.to_string().contains(text),
        Value::Bool(truth) => truth.to_string() == text,
        Value::Null => false,
        Value::Array(items) => items.iter().any(|item| holds(item, text)),
        Value::Object(fields) => fields.values().any(|value| holds(value, text)),
    }
}
