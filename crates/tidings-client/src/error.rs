//! The errors of the client. Each describes its remedy.

pub use tidings_protocol::Loss;
use tidings_protocol::{ErrorCode, IdError};

/// Returned when a client cannot connect to a URL or with a setting.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// The URL cannot be parsed. Write it as `http://127.0.0.1:8000`.
    #[error("{url:?} is not a URL; write one such as http://127.0.0.1:8000")]
    Malformed {
        /// The URL.
        url: String,
    },
    /// The scheme is not `http`, `https`, `ws` or `wss`.
    #[error("{url:?} begins with none of http, https, ws and wss")]
    Scheme {
        /// The URL.
        url: String,
    },
    /// The URL asks for TLS, but the program was built without the feature `tls`.
    #[error("{url:?} needs TLS, which this program was built without")]
    NoTls {
        /// The URL.
        url: String,
    },
    /// The token has characters that an HTTP header cannot carry.
    #[error("the token has characters that a header cannot carry")]
    Token,
    /// The token is too large to be sent on the open connection.
    #[error("the token has {bytes} bytes as a message, {max} are allowed")]
    TokenTooLarge {
        /// The size of the message, in bytes.
        bytes: usize,
        /// The largest size allowed, in bytes.
        max: usize,
    },
    /// The root certificates are not certificates in PEM format.
    #[error("there is no certificate of an authority as PEM (`-----BEGIN CERTIFICATE-----`)")]
    RootCertificates,
}

/// Returned when a client could not connect the first time.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] InvalidUrl),
    /// The connection could not be made. Start the server, or correct the URL.
    #[error("there is no connection to {url}: is the server running there?")]
    Lost {
        /// The server's URL.
        url: String,
        /// The reason for the loss.
        #[source]
        loss: Loss,
    },
    /// The server refuses this client.
    #[error("{url} refuses this client")]
    Stopped {
        /// The server's URL.
        url: String,
        /// The reason for the refusal.
        #[source]
        stopped: Stopped,
    },
}

/// The reason why a client has stopped. A stopped client does not connect again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// The program has called [`Client::close`](crate::Client::close), or has dropped
    /// the last handle.
    #[error("the client was closed")]
    Closed,
    /// The token is missing, bad or expired, and the client has no source for a new
    /// one. Set another token or a token source.
    #[error("the server wants a valid token")]
    Unauthenticated,
    /// The token does not allow this connection.
    #[error("the server does not allow this client to connect")]
    Forbidden,
    /// The server has told this client not to come back.
    #[error("the server closed the connection for good{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Dismissed {
        /// The reason in the server's words; may be empty.
        reason: String,
    },
}

/// A message that is larger than the server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message has {bytes} bytes, {max} are allowed")]
pub(crate) struct TooLarge {
    pub(crate) bytes: usize,
    pub(crate) max: usize,
}

impl From<TooLarge> for ReceiptError {
    fn from(TooLarge { bytes, max }: TooLarge) -> Self {
        Self::TooLarge { bytes, max }
    }
}

impl From<TooLarge> for CommandError {
    fn from(TooLarge { bytes, max }: TooLarge) -> Self {
        Self::TooLarge { bytes, max }
    }
}

/// Returned when a publish did not succeed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The server refused the event. Correct the event, or read the task's state, which
    /// may differ from the expected one. The refused event has changed nothing.
    #[error("the server refused the event ({code}): {message}")]
    Refused {
        /// The protocol's code.
        code: ErrorCode,
        /// The reason in the server's words.
        message: String,
    },
    /// The event is larger than a message may be. Store large data elsewhere and
    /// publish a link.
    #[error("the event has {bytes} bytes as a message, {max} are allowed")]
    TooLarge {
        /// The size of the message, in bytes.
        bytes: usize,
        /// The largest size allowed, in bytes.
        max: usize,
    },
    /// The buffer of unanswered publishes is full. Try again later, or drop the event.
    #[error("too many publishes wait for the server")]
    BufferFull,
    /// The client dropped the event to make room for newer ones while the server was
    /// away.
    #[error("the event was dropped, because too many publishes wait for the server")]
    Dropped,
    /// The text is not a valid task id. Correct it.
    #[error("the task has no valid id")]
    InvalidTaskId(#[from] IdError),
    /// The task has ended and accepts no more reports.
    #[error("the task has ended and accepts no more reports")]
    Ended,
    /// The client has stopped. If the event was sent before, the server may or may not
    /// have accepted it.
    #[error("the client has stopped")]
    Stopped(#[from] Stopped),
}

/// Returned when a command did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The server refused the command. The code `task_not_found` means that the task
    /// does not exist.
    #[error("the server refused the command ({code}): {message}")]
    Refused {
        /// The protocol's code.
        code: ErrorCode,
        /// The reason in the server's words.
        message: String,
    },
    /// The connection broke before the server's answer. The client does not send a
    /// command twice. Read the task's `pending_commands` before you send the command
    /// again.
    #[error(
        "the connection broke before the server answered; the task may have received the command"
    )]
    Unconfirmed,
    /// The command is larger than a message may be. Store large data elsewhere and send
    /// a link.
    #[error("the command has {bytes} bytes as a message, {max} are allowed")]
    TooLarge {
        /// The size of the message, in bytes.
        bytes: usize,
        /// The largest size allowed, in bytes.
        max: usize,
    },
    /// Too many commands wait for the server's answer. Try again later.
    #[error("too many commands wait for the server")]
    BufferFull,
    /// The client has stopped.
    #[error("the client has stopped")]
    Stopped(#[from] Stopped),
}

/// The reason why a watch has ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The server refused the subscription.
    #[error("the server refused the subscription ({code}): {message}")]
    Refused {
        /// The protocol's code.
        code: ErrorCode,
        /// The reason in the server's words.
        message: String,
    },
    /// The client has stopped.
    #[error("the client has stopped")]
    Stopped(#[from] Stopped),
}
