//! A page of a list, built as text.

use http::{Response, StatusCode};
use serde::Serialize;
use tidings_bus::{Account, Charge, Kind};
use tidings_protocol::ErrorCode;

use crate::body::{Body, charged_json};
use crate::problem::Problem;

/// The most bytes on a page. A single larger entry is allowed.
pub(super) const MAX_PAGE_BYTES: usize = 1 << 20;

/// The number of bytes of an answer that are charged as one unit of work.
pub(super) const BYTES_A_UNIT: usize = 1_024;

/// A page as text: `{"tasks":[…],"next":…}`. The next page is requested with the value of `next` as
/// `after`. On the last page, `next` is null.
pub(super) struct Page {
    text: String,
    count: usize,
    charge: Charge,
}

impl Page {
    /// Creates an empty page. Its entries are in the field `name`.
    ///
    /// # Errors
    /// Returns an error if unread answers leave no room in the account.
    pub(super) fn new(name: &str, account: &Account) -> Result<Self, Problem> {
        Ok(Self {
            text: format!("{{\"{name}\":["),
            count: 0,
            charge: account.charge(Kind::Answer, 0)?,
        })
    }

    /// Adds an entry. Returns `false` if there is no room.
    ///
    /// # Errors
    /// Returns an error if unread answers leave no room for even the first entry.
    pub(super) fn push(&mut self, json: &str) -> Result<bool, Problem> {
        let length = self.text.len() + json.len() + 1;
        let is_first = self.count == 0;
        if !is_first && length > MAX_PAGE_BYTES {
            return Ok(false);
        }
        // A client that leaves answers unread gets shorter pages, and finally errors.
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

    /// Returns the number of entries.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Returns the length of the text.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Returns the page, with the place after which the next page begins.
    ///
    /// # Errors
    /// Returns an error if the place cannot be written.
    pub(super) fn respond(
        mut self,
        next: Option<&impl Serialize>,
    ) -> Result<Response<Body>, Problem> {
        let next = serde_json::to_string(&next)
            .map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
        self.text.push_str("],\"next\":");
        self.text.push_str(&next);
        self.text.push('}');
        Ok(charged_json(StatusCode::OK, self.text, self.charge))
    }
}
