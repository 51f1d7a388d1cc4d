//! Query strings and path segments, parsed with errors that name the parameter.

use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tidings_protocol::{ErrorCode, ItemId, TaskId};

use crate::problem::Problem;

/// The parameters of a request.
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(crate) fn of(uri: &'a http::Uri) -> Self {
        Self(uri.query().unwrap_or_default())
    }

    /// Returns the first parameter with this name, decoded.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.texts(name).next().filter(|value| !value.is_empty())
    }

    /// Returns all parameters with this name, decoded.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = String> {
        form_urlencoded::parse(self.0.as_bytes())
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// Returns the parameter, parsed. An error names the parameter.
    pub(crate) fn get<T>(&self, name: &str, code: ErrorCode) -> Result<Option<T>, Problem>
    where
        T: FromStr<Err: Display>,
    {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|error| Problem::new(code, format!("parameter `{name}`: {error}")))
            })
            .transpose()
    }
}

/// Decodes a segment of the path.
pub(crate) fn path_part(raw: &str) -> Result<String, Problem> {
    percent_decode_str(raw)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Problem::bad_request(format!("the path part {raw:?} is not UTF-8")))
}

/// Reads a task id from the path.
pub(crate) fn task_id(raw: &str) -> Result<TaskId, Problem> {
    path_part(raw)?
        .parse()
        .map_err(|error| Problem::new(ErrorCode::InvalidTaskId, format!("{error}")))
}

/// Reads the id of an item from the path.
pub(crate) fn item_id(raw: &str) -> Result<ItemId, Problem> {
    path_part(raw)?
        .parse()
        .map_err(|error| Problem::bad_request(format!("{error}")))
}
