//! The answers to a publish.

use std::sync::Arc;

use serde::Serialize;
use tidings_protocol::{
    Epoch, ErrorCode, FenceError, IdError, InvalidEvent, InvalidTransition, ItemId, Offset,
};

use crate::store::StoreError;
use crate::tasks::schema::Unfit;
use crate::tasks::trees::forest::TreeError;

/// The answer to a publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The epoch of `offset`.
    pub epoch: Epoch,
    /// The event's place in its task's log.
    pub offset: Offset,
    /// Whether the event was accepted before, under its `event_id` or its producer's `seq`. If so,
    /// it was not published again. `offset` is then the original one, or 0 if it is no longer
    /// known.
    pub duplicate: bool,
    /// The run that a `task_started` event has opened, or `None` for other events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
}

/// The reason why an event was refused. Nothing has changed, unless a variant says that the
/// outcome is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The event's data does not fit its type. Correct the data.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// The task's status does not allow the event: the report is late or repeated.
    #[error(transparent)]
    Transition(#[from] InvalidTransition),
    /// Another run of the producer has taken over, or one of its events is missing.
    #[error(transparent)]
    Fenced(#[from] FenceError),
    /// The event names a run that has ended or never existed. Stop reporting for that run.
    #[error("the event belongs to run {named}, the task's current run is {current}")]
    WrongRun {
        /// The run that the event names.
        named: u32,
        /// The task's current run, or 0 before the first.
        current: u32,
    },
    /// The event is too large. Publish a link instead.
    #[error("the event has {size} bytes, {max} are allowed")]
    TooLarge {
        /// The size of the event's data in bytes.
        size: usize,
        /// The largest size allowed, in bytes.
        max: usize,
    },
    /// The store did not confirm the event, but it may have stored it. Try again with the same
    /// `event_id`. The answer then says whether the event was stored.
    #[error("the event could not be stored")]
    Unavailable(#[source] Arc<StoreError>),
    /// No task can have this id. Correct the id.
    #[error("the task has no valid id")]
    InvalidTaskId(#[from] IdError),
    /// The task has ended, so nothing can be reported for it any more.
    #[error("the task has ended and accepts no more reports")]
    Ended,
    /// The question of this answer has an answer already, or has expired. Read the task's state.
    #[error("the question `{input_id}` {}", How(.by.as_deref()))]
    QuestionEnded {
        /// The question.
        input_id: ItemId,
        /// The subject that has answered the question. `None` if the question expired.
        by: Option<String>,
    },
    /// The task has ended, and its questions with it. Nobody waits for the answer any more.
    #[error("the task has ended, and the question `{input_id}` with it")]
    QuestionDropped {
        /// The question.
        input_id: ItemId,
    },
    /// The task has no such open question. It was never asked, it ended with an older run, or
    /// newer questions have displaced it from the state.
    #[error("the task has no open question `{input_id}`")]
    NoQuestion {
        /// The question.
        input_id: ItemId,
    },
    /// The value does not answer the question, which stays open. Correct the value.
    #[error("the value does not answer `{input_id}`")]
    UnfitAnswer {
        /// The question.
        input_id: ItemId,
        /// The reason why the value does not fit.
        #[source]
        reason: Unfit,
    },
    /// Another question with this id was asked in the meantime. Read it, and answer that
    /// question.
    #[error("the question `{input_id}` was asked anew meanwhile")]
    QuestionChanged {
        /// The question.
        input_id: ItemId,
    },
    /// The task cannot have the parent that it names. Name another parent.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The schema of a question cannot be used. Correct the schema.
    #[error("input_required: `schema` cannot be used")]
    Schema(#[source] Unfit),
    /// The bus was shut down. The store may have stored an event that was on its way.
    #[error("the bus is closed")]
    Closed,
}

/// How a question ended.
struct How<'a>(Option<&'a str>);

impl std::fmt::Display for How<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(by) => write!(f, "was answered by {by}"),
            None => f.write_str("has expired"),
        }
    }
}

impl PublishError {
    /// Returns the protocol's code for this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidEvent,
            Self::QuestionEnded { by: Some(_), .. } => ErrorCode::AlreadyAnswered,
            Self::QuestionEnded { .. }
            | Self::QuestionDropped { .. }
            | Self::NoQuestion { .. }
            | Self::QuestionChanged { .. } => ErrorCode::InputNotOpen,
            Self::Transition(_) | Self::Ended => ErrorCode::InvalidTransition,
            Self::Schema(_) | Self::Tree(_) | Self::UnfitAnswer { .. } => ErrorCode::InvalidEvent,
            Self::Fenced(error) => error.code(),
            Self::WrongRun { .. } => ErrorCode::WrongRun,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::InvalidTaskId(_) => ErrorCode::InvalidTaskId,
            Self::Unavailable(_) | Self::Closed => ErrorCode::Unavailable,
        }
    }
}

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        Self::Answer(Err(error))
    }
}

/// Why an event was not appended.
pub(crate) enum Refused {
    /// The answer is known without an append: an error, or the offset of a repeated event.
    Answer(Result<Published, PublishError>),
    /// The task has left the registry in the meantime. Look it up again.
    Removed,
}
