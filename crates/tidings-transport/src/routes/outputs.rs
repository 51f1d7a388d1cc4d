//! `/api/tasks/{task_id}/outputs/{output_id}`: the text of an output, or a part of it.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tidings_bus::OutputText;
use tidings_connections::{Access, Permission};
use tidings_protocol::{ErrorCode, ItemId, TaskId};

use crate::body::{Body, full};
use crate::problem::{Problem, unavailable};
use crate::query;
use crate::service::Core;

/// The range of bytes that a request asks for, counted in the whole output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    All,
    /// From one byte to another, both included. `None` means to the end.
    From(u64, Option<u64>),
    /// This number of bytes at the end.
    Last(u64),
}

impl Asked {
    /// Reads the header `Range`. A header that is malformed, uses another unit or has several
    /// ranges is ignored, as RFC 9110 §14.2 allows. So is every range with `If-Range`, because no
    /// answer has a validator (§13.1.5).
    fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(header::IF_RANGE) {
            return Self::All;
        }
        let text = headers.get(header::RANGE).map(HeaderValue::to_str);
        let Some(Ok(text)) = text else {
            return Self::All;
        };
        let range = text.trim().split_once('=');
        let range = range.filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
        let Some((from, to)) = range.and_then(|(_, range)| range.split_once('-')) else {
            return Self::All;
        };
        match (from.trim(), to.trim()) {
            ("", to) => number(to).map_or(Self::All, Self::Last),
            (from, "") => number(from).map_or(Self::All, |from| Self::From(from, None)),
            (from, to) => match (number(from), number(to)) {
                (Some(from), Some(to)) if to >= from => Self::From(from, Some(to)),
                _ => Self::All,
            },
        }
    }

    /// Returns the range in an output of this length, or `None` if the output has no such bytes.
    fn range(self, length: u64) -> Option<Range<u64>> {
        match self {
            Self::All => Some(0..length),
            Self::From(from, _) if from >= length => None,
            Self::From(from, to) => {
                Some(from..to.map_or(length, |to| to.saturating_add(1).min(length)))
            }
            Self::Last(count) if count.min(length) == 0 => None,
            Self::Last(count) => Some(length.saturating_sub(count)..length),
        }
    }
}

/// Reads a number of bytes. No output is longer than the largest number, so a larger one means the
/// same.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

impl Core {
    /// Returns the current text of an output. `Range` counts bytes of the whole output, even if its
    /// start is no longer kept.
    pub(crate) async fn get_output(
        &self,
        headers: &HeaderMap,
        (task, output): (&str, &str),
        access: &Access,
    ) -> Result<Response<Body>, Problem> {
        let task_id = query::task_id(task)?;
        access.check(Permission::Watch, &task_id)?;
        let output_id = query::item_id(output)?;
        let bus = self.manager.bus();
        let known = bus.fetch(&task_id, None).await.map_err(unavailable)?;
        known.ok_or_else(|| Problem::task_not_found(&task_id))?;
        let read = async |range| {
            let output = bus.output(&task_id, &output_id, range).await;
            let output = output.map_err(unavailable)?;
            output.ok_or_else(|| no_output(&task_id, &output_id))
        };
        let length = read(0..0).await?.length;
        let asked = Asked::of(headers);
        let Some(range) = asked.range(length) else {
            return Ok(unsatisfiable(length));
        };
        // The output may grow in between. The part is then a part of the longer output.
        let text = read(range.clone()).await?;
        if text.range.is_empty() && range.start < text.start {
            return Ok(unsatisfiable(text.length));
        }
        Ok(answer(asked, text))
    }
}

fn no_output(task_id: &TaskId, output_id: &ItemId) -> Problem {
    Problem::new(
        ErrorCode::TaskNotFound,
        format!("task {task_id} has no output {output_id}"),
    )
}

fn answer(asked: Asked, text: OutputText) -> Response<Body> {
    let partial = asked != Asked::All || text.start > 0;
    let range = partial.then(|| {
        let last = text.range.end.saturating_sub(1);
        format!("bytes {}-{last}/{}", text.range.start, text.length)
    });
    let mut response = Response::new(full(text.bytes));
    let headers = response.headers_mut();
    if let Some(Ok(range)) = range.map(HeaderValue::try_from) {
        headers.insert(header::CONTENT_RANGE, range);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    finish(response)
}

fn unsatisfiable(length: u64) -> Response<Body> {
    let mut response = Response::new(full(Vec::new()));
    *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{length}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    finish(response)
}

fn finish(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::ACCEPT_RANGES, "bytes"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let cases = [
            ("bytes=0-0", Some(0..1)),
            ("bytes=5-", Some(5..10)),
            ("bytes=5-99", Some(5..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=-0", None),
            ("bytes=10-", None),
            ("bytes=7-3", Some(0..10)),
            ("bytes=a-b", Some(0..10)),
            ("bytes=1-2,4-5", Some(0..10)),
            ("lines=1-2", Some(0..10)),
            ("BYTES=1-2", Some(1..3)),
            ("bytes=+1-2", Some(0..10)),
            ("bytes=-", Some(0..10)),
            ("bytes=0-18446744073709551615", Some(0..10)),
            ("bytes=3-99999999999999999999999", Some(3..10)),
            ("bytes=99999999999999999999999-", None),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(text));
            assert_eq!(Asked::of(&headers).range(10), expected, "{text}");
        }
        assert_eq!(Asked::of(&HeaderMap::new()).range(0), Some(0..0));
        assert_eq!(Asked::Last(1).range(0), None);
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"x\""));
        assert_eq!(Asked::of(&headers), Asked::All);
    }
}
