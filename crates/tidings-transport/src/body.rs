//! Bodies: what is answered, and what is read within limits.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::Serialize;
use tidings_protocol::ErrorCode;

use crate::problem::Problem;

/// The body of every response.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
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
                    Problem::bad_request(format!("the request's body broke off: {error}"))
                }
            })
    };
    tokio::time::timeout(timeout, collect)
        .await
        .unwrap_or_else(|_| {
            Err(Problem::timeout(format!(
                "the request's body did not come within {timeout:?}"
            )))
        })
}
