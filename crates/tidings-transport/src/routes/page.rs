//! A page of a list, as text.

use http::{Response, StatusCode};
use tidings_bus::{Account, Charge, Kind};
use tidings_protocol::TaskId;

use crate::body::{Body, charged_json};
use crate::problem::Problem;

/// Bytes of a page at most, unless one entry alone has more.
pub(super) const MAX_PAGE_BYTES: usize = 1 << 20;

/// Bytes of an answer that are charged as one unit of work.
pub(super) const BYTES_A_UNIT: usize = 1_024;

/// A page, as text: `{"tasks":[…],"next":…}`, where `next` is the task to give as
/// `after` for the next page, and null on the last.
pub(super) struct Page {
    text: String,
    count: usize,
    charge: Charge,
}

impl Page {
    /// An empty page, whose entries stand in the field `name`.
    pub(super) fn new(name: &str, account: &Account) -> Result<Self, Problem> {
        Ok(Self {
            text: format!("{{\"{name}\":["),
            count: 0,
            charge: account.charge(Kind::Answer, 0)?,
        })
    }

    /// Adds an entry, or several separated by commas. False if there is no room.
    pub(super) fn push(&mut self, json: &str) -> Result<bool, Problem> {
        let length = self.text.len() + json.len() + 1;
        let is_first = self.count == 0;
        if !is_first && length > MAX_PAGE_BYTES {
            return Ok(false);
        }
        // A client that leaves answers unread gets shorter pages, and then none.
        match self.charge.try_resize(length as u64) {
            Err(over) if is_first => return Err(over.into()),
            Err(_) => return Ok(false),
            Ok(()) => {}
        }
        if !is_first {
            self.text.push(',');
        }
        self.text.push_str(json);
        self.count += 1;
        Ok(true)
    }

    /// Returns how many times something was added.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the length of the text.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn respond(mut self, next: Option<&TaskId>) -> Response<Body> {
        self.text.push_str("],\"next\":");
        match next {
            // An id needs no escapes.
            Some(next) => self.text.push_str(&format!("\"{next}\"}}")),
            None => self.text.push_str("null}"),
        }
        charged_json(StatusCode::OK, self.text, self.charge)
    }
}
