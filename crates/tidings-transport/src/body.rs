//! Response bodies, and request bodies that are read within limits.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Serialize;
use tidings_bus::{Account, Charge, Kind};
use tidings_protocol::ErrorCode;

use crate::problem::Problem;

/// The body of every response. The body of an event stream fails if the client does not read it
/// within the write timeout, so that the server closes the connection. Other bodies do not fail.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => raw_json(status, bytes),
        Err(error) => Problem::new(ErrorCode::Unavailable, error.to_string()).into_response(),
    }
}

pub(crate) fn raw_json(status: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The number of bytes that a response hands over at a time, when the client has taken those
/// before.
const FRAME: usize = 64 * 1024;

/// A response that is charged to its client until the client has received it.
struct Held {
    bytes: Bytes,
    charge: Charge,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.bytes.len().min(FRAME);
        let frame = self.bytes.split_to(length);
        let left = self.bytes.len() as u64;
        self.charge.resize(left);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

/// Creates a JSON response that is charged to a client until the client has received it.
///
/// # Errors
/// Returns an error if unread responses leave no room for this one in the client's account.
pub(crate) fn held_json(
    status: StatusCode,
    bytes: impl Into<Bytes>,
    account: &Account,
) -> Result<Response<Body>, Problem> {
    let bytes = bytes.into();
    let charge = account.charge(Kind::Answer, bytes.len() as u64)?;
    Ok(charged_json(status, bytes, charge))
}

/// Creates a JSON response whose charge already exists.
pub(crate) fn charged_json(
    status: StatusCode,
    bytes: impl Into<Bytes>,
    mut charge: Charge,
) -> Response<Body> {
    let bytes = bytes.into();
    charge.resize(bytes.len() as u64);
    let mut response = raw_json(status, Bytes::new());
    *response.body_mut() = Held { bytes, charge }.boxed_unsync();
    response
}

/// Reads a request's body, up to a size and within a time.
pub(crate) async fn read<B>(body: B, max_bytes: usize, timeout: Duration) -> Result<Bytes, Problem>
where
    B: http_body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = || {
        let detail = format!("the request's body has more than {max_bytes} bytes");
        Problem::new(ErrorCode::TooLarge, detail)
    };
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large());
    }
    let collect = async {
        let collected = Limited::new(body, max_bytes).collect().await;
        collected
            .map(http_body_util::Collected::to_bytes)
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    too_large()
                } else {
                    Problem::bad_request(format!("the request's body ended early: {error}"))
                }
            })
    };
    tokio::time::timeout(timeout, collect)
        .await
        .unwrap_or_else(|_| {
            Err(Problem::timeout(format!(
                "the request's body did not arrive within {timeout:?}"
            )))
        })
}
