//! What can go wrong, and what to do about it.

pub use tidings_protocol::Loss;
use tidings_protocol::{ErrorCode, IdError};

/// The URL is none that a client can connect to.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// It cannot be read: write it as `http://127.0.0.1:8000`.
    #[error("{url:?} is no URL such as http://127.0.0.1:8000")]
    Malformed {
        /// The URL.
        url: String,
    },
    /// Not `http`, `https`, `ws` or `wss`.
    #[error("{url:?} begins with none of http, https, ws and wss")]
    Scheme {
        /// The URL.
        url: String,
    },
    /// The program was built without the feature `tls`.
    #[error("{url:?} needs TLS, which this program was built without")]
    NoTls {
        /// The URL.
        url: String,
    },
    /// The token has characters that no HTTP header may have.
    #[error("the token has characters that a header cannot carry")]
    Token,
    /// What is to be believed as an authority is no certificate as PEM.
    #[error("there is no certificate of an authority as PEM (`-----BEGIN CERTIFICATE-----`)")]
    RootCertificates,
}

/// Why a client could not connect the first time.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] InvalidUrl),
    /// There is no connection: start the server, or correct the URL.
    #[error("there is no connection to {url}: is the server running there?")]
    Lost {
        /// The server's URL.
        url: String,
        /// The reason.
        #[source]
        loss: Loss,
    },
    /// The server does not want this client.
    #[error("{url} refuses this client")]
    Stopped {
        /// The server's URL.
        url: String,
        /// The reason.
        #[source]
        stopped: Stopped,
    },
}

/// Why a client does not connect any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// [`Client::close`](crate::Client::close) was called, or the last handle is gone.
    #[error("the client was closed")]
    Closed,
    /// The token is missing, bad or expired, and there is no way to a new one:
    /// give the client another token or a token source.
    #[error("the server wants a valid token")]
    Unauthenticated,
    /// The token does not allow this connection.
    #[error("the server does not allow this client to connect")]
    Forbidden,
    /// The server said that this client shall not come back.
    #[error("the server closed the connection for good{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Dismissed {
        /// Why, in the server's words; may be empty.
        reason: String,
    },
}

/// Why a publish did not succeed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The server refused it: correct the event, or the task's state is another
    /// than thought. It has changed nothing.
    #[error("the server refused the event ({code}): {message}")]
    Refused {
        /// The protocol's code.
        code: ErrorCode,
        /// Why, in the server's words.
        message: String,
    },
    /// The event is larger than a message may be: link to what is large.
    #[error("the event has {bytes} bytes as a message, {max} are allowed")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The bytes allowed.
        max: usize,
    },
    /// Too much waits for the server: try again later, or drop it.
    #[error("too many publishes wait for the server")]
    BufferFull,
    /// It had to give way to newer ones while the server was away.
    #[error("it was dropped: too many publishes wait for the server")]
    Dropped,
    /// The id is none that a task can have: correct it.
    #[error("the task has no valid id")]
    InvalidTaskId(#[from] IdError),
    /// The task has ended: nothing can be reported of it any more.
    #[error("the task has ended: nothing more can be reported of it")]
    Ended,
    /// The client does not connect any more. If it was on its way, whether the
    /// server took it is not known.
    #[error("the client has stopped")]
    Stopped(#[from] Stopped),
}

/// Why a command was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The server refused it; with `task_not_found` there is no such task.
    #[error("the server refused the command ({code}): {message}")]
    Refused {
        /// The protocol's code.
        code: ErrorCode,
        /// Why, in the server's words.
        message: String,
    },
    /// The connection broke before the server's answer. A command is not sent
    /// twice: look at the task's `pending_commands` before asking again.
    #[error("the connection broke before the server had answered: it may have been taken")]
    Unconfirmed,
    /// The command is larger than a message may be: link to what is large.
    #[error("the command has {bytes} bytes as a message, {max} are allowed")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The bytes allowed.
        max: usize,
    },
    /// Too many commands wait for the server.
    #[error("too many commands wait for the server")]
    BufferFull,
    /// The client does not connect any more.
    #[error("the client has stopped")]
    Stopped(#[from] Stopped),
}

/// Why a watch has ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The server refused the subscription.
    #[error("the server refused the subscription ({code}): {message}")]
    Refused {
        /// The protocol's code.
        code: ErrorCode,
        /// Why, in the server's words.
        message: String,
    },
    /// The client does not connect any more.
    #[error("the client has stopped")]
    Stopped(#[from] Stopped),
}
