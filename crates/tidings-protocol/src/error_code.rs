//! Error codes, which are the same over WebSocket and HTTP.

/// Why the server refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// A newer run of the same producer has taken over.
    Fenced,
    /// Events of the producer before this `seq` are missing.
    SequenceGap,
    /// The event names a run that is not the task's current one.
    WrongRun,
    /// The question already has an answer.
    AlreadyAnswered,
    /// The question waits for no answer: it has expired, its run has ended, or the task has not
    /// asked it.
    InputNotOpen,
    /// The message is malformed.
    InvalidMessage,
    /// A task id contains a character that is not allowed, or has the wrong length.
    InvalidTaskId,
    /// An event's data does not fit its type.
    InvalidEvent,
    /// The task's status does not allow the event.
    InvalidTransition,
    /// No client message has this `type`.
    UnknownType,
    /// The connection has no such subscription.
    NotSubscribed,
    /// The token is missing, invalid or expired.
    Unauthenticated,
    /// The token does not allow the request.
    Forbidden,
    /// The client sent too many requests.
    RateLimited,
    /// The connection watches too many tasks.
    TooManySubscriptions,
    /// The message is too large.
    TooLarge,
    /// The task does not exist.
    TaskNotFound,
    /// The position belongs to no log that the server knows.
    PositionUnknown,
    /// The server cannot serve the request at the moment.
    Unavailable,
}

crate::text::named_enum!(ErrorCode, UnknownErrorCode, "an error code", {
    Fenced => "fenced",
    SequenceGap => "sequence_gap",
    WrongRun => "wrong_run",
    AlreadyAnswered => "already_answered",
    InputNotOpen => "input_not_open",
    InvalidMessage => "invalid_message",
    InvalidTaskId => "invalid_task_id",
    InvalidEvent => "invalid_event",
    InvalidTransition => "invalid_transition",
    UnknownType => "unknown_type",
    NotSubscribed => "not_subscribed",
    Unauthenticated => "unauthenticated",
    Forbidden => "forbidden",
    RateLimited => "rate_limited",
    TooManySubscriptions => "too_many_subscriptions",
    TooLarge => "too_large",
    TaskNotFound => "task_not_found",
    PositionUnknown => "position_unknown",
    Unavailable => "unavailable",
});

impl ErrorCode {
    /// Returns the HTTP status that belongs to the code.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidMessage | Self::InvalidTaskId | Self::InvalidEvent | Self::UnknownType => {
                400
            }
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::TaskNotFound => 404,
            Self::Fenced
            | Self::SequenceGap
            | Self::WrongRun
            | Self::AlreadyAnswered
            | Self::InputNotOpen
            | Self::InvalidTransition
            | Self::NotSubscribed => 409,
            Self::PositionUnknown => 410,
            Self::TooLarge => 413,
            Self::RateLimited | Self::TooManySubscriptions => 429,
            Self::Unavailable => 503,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_read_back_and_has_an_error_status() {
        assert_eq!(ErrorCode::ALL.len(), 19);
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
        assert_eq!("nope".parse::<ErrorCode>(), Err(UnknownErrorCode));
    }
}
