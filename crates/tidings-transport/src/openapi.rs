//! `/api/openapi.json`.

use http::{Response, StatusCode};

use crate::body::{Body, raw_json};

pub(crate) fn response() -> Response<Body> {
    raw_json(StatusCode::OK, "{}")
}
