//! Errors of HTTP requests, as RFC 9457 problem details.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tidings_bus::{OverLimit, PublishError};
use tidings_connections::{
    AdmissionError, AuthError, CommandTreeError, Forbidden, Limited, NotPublishable, SendError,
    Unanswered, UnknownClient, chain,
};
use tidings_protocol::ErrorCode;

use crate::body::{Body, full};

/// The error of a request, sent as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// The protocol's code for the error, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<ErrorCode>,
    detail: String,
    /// The name of the person or program that has already answered the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// `true` if the request had no token, so that no token was wrong (RFC 6750 §3.1).
    #[serde(skip)]
    no_token: bool,
    #[serde(skip)]
    retry_after: Option<Duration>,
    #[serde(skip)]
    allow: Option<&'static str>,
}

impl Problem {
    /// Creates a problem without a protocol code.
    pub fn plain(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: None,
            detail: detail.into(),
            by: None,
            no_token: false,
            retry_after: None,
            allow: None,
        }
    }

    /// Creates a problem with a protocol code, and the HTTP status that belongs to it.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self {
            code: Some(code),
            ..Self::plain(status, detail)
        }
    }

    /// Returns the problem with the name of the person or program that has already answered the
    /// question.
    pub(crate) fn answered_by(self, by: &str) -> Self {
        Self {
            by: Some(by.to_owned()),
            ..self
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidMessage, detail)
    }

    pub(crate) fn task_not_found(task_id: &impl std::fmt::Display) -> Self {
        Self::new(
            ErrorCode::TaskNotFound,
            format!("there is no task {task_id}"),
        )
    }

    pub(crate) fn no_route(path: &str) -> Self {
        Self::plain(
            StatusCode::NOT_FOUND,
            format!("no route for {path}; GET / lists all routes"),
        )
    }

    pub(crate) fn no_backups() -> Self {
        Self::plain(
            StatusCode::NOT_FOUND,
            "this server makes no backups; start it with --data-dir and --backup-dir",
        )
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::plain(StatusCode::CONFLICT, detail)
    }

    pub(crate) fn method(allow: &'static str) -> Self {
        let detail = format!("this method is not supported here; use {allow}");
        Self {
            allow: Some(allow),
            ..Self::plain(StatusCode::METHOD_NOT_ALLOWED, detail)
        }
    }

    pub(crate) fn forbidden_origin() -> Self {
        Self::new(
            ErrorCode::Forbidden,
            "pages of this origin are not allowed; see --allow-origin",
        )
    }

    pub(crate) fn uri_too_long(max: usize) -> Self {
        Self::plain(
            StatusCode::URI_TOO_LONG,
            format!("a path with its query may have at most {max} bytes"),
        )
    }

    /// Returns whether the client caused the problem, by a mistake or by asking for too much.
    pub(crate) fn is_refusal(&self) -> bool {
        (400..500).contains(&self.status)
    }

    pub(crate) fn is_forbidden(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    pub(crate) fn upgrade_required(detail: impl Into<String>) -> Self {
        Self::plain(StatusCode::UPGRADE_REQUIRED, detail)
    }

    pub(crate) fn timeout(detail: impl Into<String>) -> Self {
        Self::plain(StatusCode::REQUEST_TIMEOUT, detail)
    }

    pub(crate) fn unsupported_media(detail: impl Into<String>) -> Self {
        Self::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// Shortens the detail to at most `max` bytes as JSON. The text of a library may repeat what a
    /// client sent.
    pub(crate) fn shortened(mut self, max: usize) -> Self {
        let mut length = 0;
        let end = self.detail.char_indices().find_map(|(at, char)| {
            length += match char {
                '"' | '\\' => 2,
                char if char.is_control() => 6,
                char => char.len_utf8(),
            };
            (length > max).then_some(at)
        });
        if let Some(end) = end {
            self.detail.truncate(end);
            self.detail.push('…');
        }
        self
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.code
    }

    /// Returns the response for this problem.
    pub fn into_response(self) -> Response<Body> {
        let json = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = Response::new(full(json));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(after) = self.retry_after {
            // Round up to whole seconds (RFC 9110 §10.2.3).
            let seconds = after.as_secs() + 1;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self.status {
            401 => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static(if self.no_token {
                        "Bearer realm=\"tidings\""
                    } else {
                        "Bearer realm=\"tidings\", error=\"invalid_token\""
                    }),
                );
            }
            // The client must open a new connection, and these have a limit of their own.
            408 | 429 => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            426 => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
                // RFC 6455 §4.4 requires this for clients that asked for another version.
                headers.insert(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
            }
            503 => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        Self::new(error.code(), chain(&error))
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        if let AuthError::Limited(limited) = error {
            return limited.into();
        }
        Self {
            no_token: error == AuthError::Missing,
            ..Self::new(error.code(), error.to_string())
        }
    }
}

impl From<CommandTreeError> for Problem {
    fn from(error: CommandTreeError) -> Self {
        Self::new(error.code(), chain(&error))
    }
}

impl From<Forbidden> for Problem {
    fn from(error: Forbidden) -> Self {
        Self::new(ErrorCode::Forbidden, error.to_string())
    }
}

/// The client has not read earlier responses.
impl From<OverLimit> for Problem {
    fn from(error: OverLimit) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(ErrorCode::RateLimited, error.to_string())
        }
    }
}

impl From<NotPublishable> for Problem {
    fn from(error: NotPublishable) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Limited> for Problem {
    fn from(error: Limited) -> Self {
        Self {
            retry_after: Some(error.retry_after),
            ..Self::new(ErrorCode::RateLimited, error.to_string())
        }
    }
}

impl From<AdmissionError> for Problem {
    fn from(error: AdmissionError) -> Self {
        if let AdmissionError::Limited(limited) = error {
            return limited.into();
        }
        let code = match error {
            AdmissionError::ClientIdInUse | AdmissionError::Forbidden(_) => ErrorCode::Forbidden,
            _ => ErrorCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}

impl From<UnknownClient> for Problem {
    fn from(error: UnknownClient) -> Self {
        Self::plain(StatusCode::NOT_FOUND, error.to_string())
    }
}

impl From<Unanswered> for Problem {
    fn from(error: Unanswered) -> Self {
        Self::new(ErrorCode::Unavailable, error.to_string())
    }
}

impl From<SendError> for Problem {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Unknown(unknown) => unknown.into(),
            other => Self::new(ErrorCode::Unavailable, chain(&other)),
        }
    }
}

/// Creates the problem for a shared store that cannot be reached at the moment.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn unavailable(error: tidings_bus::StoreError) -> Problem {
    Problem::new(ErrorCode::Unavailable, tidings_connections::chain(&error))
}
