//! The client: a handle that is cheap to clone.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidings_protocol::{
    ClientRequest, Data, EventId, IdError, NewEvent, Secret, Target, TaskCommanded, TaskId,
};
use tidings_scope::BoxError;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::config::{ClientConfig, WhenFull};
use crate::driver::Driver;
use crate::endpoint::{Dialer, Endpoint};
use crate::error::{CommandError, ConnectError, InvalidUrl, ReceiptError, Stopped, TooLarge};
use crate::publish::{Acknowledged, Receipt};
use crate::shared::{Core, Shared};
use crate::state::{Beginning, JobId, RequestId, State, Status};
use crate::task::{Commands, Reporter, RunError, TaskBuilder};
use crate::token::TokenSource;
use crate::trust::Trust;
use crate::update::Start;
use crate::watch::Watch;

/// A connection to a Tidings server. The client reconnects after a loss.
///
/// Clones are cheap, and all clones share one WebSocket. The WebSocket closes when the last clone
/// and the last [`Watch`] are dropped.
///
/// ```no_run
/// use tidings_client::Client;
/// use tidings_client::protocol::{NewEvent, TaskId};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect("http://127.0.0.1:8000").await?;
/// let task: TaskId = "render-7".parse()?;
/// client.publish(&task, NewEvent::progress(40.0, "lighting")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// The part that all clones and watches share. Dropping the last handle ends the client.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    #[cfg(feature = "list")]
    endpoint: Endpoint,
    when_full: WhenFull,
    /// The runtime that runs the client's own tasks, whichever thread asks for them.
    runtime: tokio::runtime::Handle,
    /// The common prefix of the ids of this client's events.
    prefix: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

/// Builds a [`Client`].
#[must_use = "call connect() or build() to create the client"]
#[derive(Debug)]
pub struct ClientBuilder {
    url: String,
    token: Option<Secret>,
    source: Option<TokenSource>,
    config: ClientConfig,
    #[cfg(feature = "tls")]
    roots: Option<Vec<u8>>,
}

impl ClientBuilder {
    /// Sets the token. The client sends the token in the `Authorization` header.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::from(token.into()));
        self
    }

    /// Sets a source of tokens.
    ///
    /// The client asks the source at the beginning if no token is set, and again whenever the
    /// server has refused the last token. If the source fails, the client asks again after a pause.
    /// Without a source, a refused token stops the client.
    pub fn token_source<F, T>(mut self, source: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        self.source = Some(TokenSource::new(source));
        self
    }

    /// Trusts these certificate authorities in addition to the system's. The authorities are given
    /// as PEM. Use this for servers whose certificate comes from a private authority.
    #[cfg(feature = "tls")]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Replaces the default settings.
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }

    /// Connects and waits until the server has sent its greeting.
    ///
    /// A program that may start before the server uses [`build`](Self::build) instead.
    ///
    /// # Errors
    /// Returns an error if a setting is wrong or the first attempt fails. The attempt fails if the
    /// server cannot be reached or refuses this client.
    ///
    /// # Panics
    /// Panics if no tokio runtime is running.
    ///
    /// # Cancel safety
    /// If the future is dropped, the client is dropped and its connection is closed.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let url = self.url.clone();
        let client = self.build()?;
        let mut status = client.handle.shared.status.subscribe();
        let settled = status
            .wait_for(|status| !matches!(status, Status::Connecting))
            .await;
        match settled.as_deref() {
            Ok(Status::Connected) => {}
            Ok(Status::Waiting(loss)) => {
                let loss = loss.clone();
                return Err(ConnectError::Lost { url, loss });
            }
            Ok(Status::Stopped(stopped)) => {
                let stopped = stopped.clone();
                return Err(ConnectError::Stopped { url, stopped });
            }
            Ok(Status::Connecting) | Err(_) => {
                let stopped = Stopped::Closed;
                return Err(ConnectError::Stopped { url, stopped });
            }
        }
        drop(settled);
        Ok(client)
    }

    /// Makes the client and returns at once. The client connects in the background and keeps
    /// trying. [`Client::status`] and [`Client::connected`] report its progress. If the first
    /// attempt fails, the client logs a warning.
    ///
    /// # Errors
    /// Returns an error if the URL, the token or the root certificates are not valid.
    ///
    /// # Panics
    /// Panics if no tokio runtime is running.
    pub fn build(self) -> Result<Client, InvalidUrl> {
        let endpoint = self.endpoint()?;
        if let Some(token) = &self.token {
            HeaderValue::from_str(token.reveal()).map_err(|_| InvalidUrl::Token)?;
        }
        let when_full = self.config.when_full;
        let state = State::new(self.config, self.token, self.source.is_some());
        let shared = Arc::new(Shared::new(state));
        shared.with(|core| core.state.start(Instant::now()));
        let driver = Driver::new(Arc::clone(&shared), endpoint.clone(), self.source);
        tokio::spawn(driver.run());
        Ok(Client {
            handle: Arc::new(Handle {
                shared,
                #[cfg(feature = "list")]
                endpoint,
                when_full,
                runtime: tokio::runtime::Handle::current(),
                prefix: uuid::Uuid::new_v4().simple().to_string(),
            }),
        })
    }

    /// Returns a dialer, which opens connections for a program that speaks the protocol on its own.
    /// The dialer uses only the URL and the certificates and ignores all other settings.
    ///
    /// # Errors
    /// Returns an error if the URL or the root certificates are not valid.
    pub fn dialer(&self) -> Result<Dialer, InvalidUrl> {
        Ok(Dialer(self.endpoint()?))
    }

    fn endpoint(&self) -> Result<Endpoint, InvalidUrl> {
        Ok(Endpoint::parse(&self.url)?.trusting(self.trust()?))
    }

    fn trust(&self) -> Result<Trust, InvalidUrl> {
        #[cfg(feature = "tls")]
        if let Some(pem) = &self.roots {
            return Trust::parse(pem).ok_or(InvalidUrl::RootCertificates);
        }
        Ok(Trust::default())
    }
}

impl Client {
    /// Connects to the server at a URL and waits until the server has sent its greeting. The URL
    /// begins with `http`, `https`, `ws` or `wss`. After a later loss, the client reconnects.
    ///
    /// # Errors
    /// Returns an error if the URL is not valid, the server cannot be reached, or the server
    /// refuses this client.
    ///
    /// # Panics
    /// Panics if no tokio runtime is running.
    ///
    /// # Cancel safety
    /// If the future is dropped, the client is dropped and its connection is closed.
    pub async fn connect(url: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Makes a client and returns at once. The client connects in the background and keeps trying.
    /// Use this in programs that may start before the server.
    ///
    /// # Errors
    /// Returns an error if the URL is not valid.
    ///
    /// # Panics
    /// Panics if no tokio runtime is running.
    pub fn new(url: impl Into<String>) -> Result<Self, InvalidUrl> {
        Self::builder(url).build()
    }

    /// Returns a builder, which sets a token, certificates and other settings.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            url: url.into(),
            token: None,
            source: None,
            config: ClientConfig::default(),
            #[cfg(feature = "tls")]
            roots: None,
        }
    }

    /// Returns the present state of the connection.
    pub fn status(&self) -> Status {
        self.handle.shared.with(|core| core.state.status())
    }

    /// Waits until the client is connected and the server has sent its greeting.
    ///
    /// # Errors
    /// Returns an error if the client has stopped and will not connect again.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn connected(&self) -> Result<(), Stopped> {
        let mut status = self.handle.shared.status.subscribe();
        let settled = status
            .wait_for(|status| matches!(status, Status::Connected | Status::Stopped(_)))
            .await;
        match settled.as_deref() {
            Ok(Status::Stopped(stopped)) => Err(stopped.clone()),
            Ok(_) => Ok(()),
            Err(_) => Err(Stopped::Closed),
        }
    }

    /// Returns a receiver of the connection's state. Its first value is the present state.
    pub fn watch_status(&self) -> tokio::sync::watch::Receiver<Status> {
        self.handle.shared.status.subscribe()
    }

    /// Replaces the token. An open connection sends the new token to the server at once; otherwise
    /// the next attempt uses it. A client that has stopped stays stopped.
    ///
    /// # Errors
    /// Returns an error if the token has characters that an HTTP header cannot carry, or is
    /// larger than a message may be.
    pub fn set_token(&self, token: impl Into<String>) -> Result<(), InvalidUrl> {
        let token = token.into();
        HeaderValue::from_str(&token).map_err(|_| InvalidUrl::Token)?;
        let now = Instant::now();
        let set = self
            .handle
            .shared
            .with(|core| core.state.set_token(token.into(), now));
        set.map_err(|TooLarge { bytes, max }| InvalidUrl::TokenTooLarge { bytes, max })
    }

    /// Watches a task, or all present and future tasks that match a pattern. The watch yields the
    /// state of each task and then its new events.
    ///
    /// ```no_run
    /// # use tidings_client::{Client, protocol::{Pattern, TaskId}};
    /// # fn example(client: Client, task: TaskId) -> Result<(), tidings_client::protocol::IdError> {
    /// let one = client.watch(&task);
    /// let many = client.watch("render-*".parse::<Pattern>()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self, target: impl Into<Target>) -> Watch {
        self.watch_from(target, Start::Live)
    }

    /// Watches a task and all present and future tasks below it. The watch leaves out tasks that
    /// the token does not allow to watch.
    pub fn watch_tree(&self, task_id: &TaskId) -> Watch {
        self.watch_from(Target::Tree(task_id.clone()), Start::Live)
    }

    /// Watches from a chosen place in the log.
    pub fn watch_from(&self, target: impl Into<Target>, start: impl Into<Start>) -> Watch {
        let now = Instant::now();
        let (target, start) = (target.into(), start.into());
        let id = self
            .handle
            .shared
            .with(|core| core.state.watch(&target, start, now));
        Watch::new(Arc::clone(&self.handle), id)
    }

    /// Publishes an event and waits for the server's answer, across reconnects if necessary. The
    /// client gives an event without an `event_id` an id of its own. With the id, the server
    /// recognises an event that is sent twice as a duplicate.
    ///
    /// # Errors
    /// Returns an error if the server refuses the event, the buffer has no room, or the client has
    /// stopped.
    ///
    /// # Cancel safety
    /// Once the future waits for the server's answer, the event is queued. Dropping the future then
    /// does not take the event back.
    pub async fn publish(
        &self,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Acknowledged, ReceiptError> {
        self.queue(task_id, event).await?.await
    }

    /// Queues an event and returns a receipt for the server's answer. With [`WhenFull::Wait`], the
    /// call first waits for room. A program can queue several events before it waits for their
    /// answers. The server receives events in the order in which they were queued.
    ///
    /// # Errors
    /// Returns an error if the buffer has no room, the event is too large, or the client has
    /// stopped.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, nothing is published.
    pub async fn queue(&self, task_id: &TaskId, event: NewEvent) -> Result<Receipt, ReceiptError> {
        loop {
            let room = self.handle.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.send(task_id, event.clone()) {
                Err(ReceiptError::BufferFull) if self.handle.when_full == WhenFull::Wait => {
                    room.await;
                }
                other => return other,
            }
        }
    }

    /// Queues an event without waiting, neither for room nor for the server.
    ///
    /// # Errors
    /// Returns an error if the buffer has no room, the event is too large, or the client has
    /// stopped.
    pub fn send(&self, task_id: &TaskId, event: NewEvent) -> Result<Receipt, ReceiptError> {
        self.send_as(task_id, event, false)
    }

    /// Queues an event without waiting. With `kept`, the event is accepted even when the buffer is
    /// full.
    pub(crate) fn send_as(
        &self,
        task_id: &TaskId,
        mut event: NewEvent,
        kept: bool,
    ) -> Result<Receipt, ReceiptError> {
        self.receipt(|core| {
            if event.event_id.is_none() {
                event.event_id = Some(self.handle.event_id(core.next_event()));
            }
            core.state.publish(task_id.clone(), event, kept)
        })
    }

    #[cfg(feature = "list")]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.handle.endpoint
    }

    #[cfg(feature = "list")]
    pub(crate) fn token(&self) -> Option<Secret> {
        self.handle.shared.token()
    }

    /// Returns the number of publishes and reports that the server has not answered yet.
    pub fn pending(&self) -> usize {
        self.handle.shared.pending()
    }

    /// Waits until the server has answered every publish, for `timeout` at most. Returns the number
    /// of publishes and reports without an answer, including those that a stopped client gave up.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn flush(&self, timeout: Duration) -> usize {
        let flush = async {
            loop {
                let answered = self.handle.shared.answered.notified();
                tokio::pin!(answered);
                answered.as_mut().enable();
                if self.pending() == 0 {
                    return;
                }
                answered.await;
            }
        };
        let _ = tokio::time::timeout(timeout, flush).await;
        self.handle.shared.with(|core| core.state.unanswered())
    }

    /// Sends a command to a task: `cancel`, or any other command that the task's agent understands.
    /// Returns the command's place in the task's log. The task's own answer comes later, as events.
    ///
    /// The client sends a command only once, because a command has no id that would reveal a
    /// duplicate.
    ///
    /// # Errors
    /// Returns an error if the server refuses the command, the connection breaks before the answer,
    /// too many commands wait, or the client has stopped.
    ///
    /// # Cancel safety
    /// If the future is dropped, the command may still be sent.
    pub async fn command(
        &self,
        task_id: &TaskId,
        command: impl Into<String>,
        args: impl Into<Option<Data>>,
    ) -> Result<Acknowledged, CommandError> {
        self.ask_once(ClientRequest::Command {
            task_id: Some(task_id.clone()),
            command: command.into(),
            args: args.into(),
            tree: false,
        })
        .await
    }

    /// Sends a command to a task and to all tasks below it, the deepest first. The result says for
    /// each task whether the server has passed the command on. The server skips tasks below that
    /// have ended, and leaves out tasks that the token does not allow to watch.
    ///
    /// # Errors
    /// Returns the same errors as [`command`](Self::command). After an error, no task has received
    /// the command.
    ///
    /// # Cancel safety
    /// If the future is dropped, the command may still be sent.
    pub async fn command_tree(
        &self,
        task_id: &TaskId,
        command: impl Into<String>,
        args: Option<Data>,
    ) -> Result<Vec<TaskCommanded>, CommandError> {
        let (answer, receipt) = oneshot::channel();
        let request = ClientRequest::Command {
            task_id: Some(task_id.clone()),
            command: command.into(),
            args,
            tree: true,
        };
        self.handle.shared.with(|core| {
            let id = core.state.ask(request)?;
            core.tree_commands.insert(id, answer);
            Ok::<_, CommandError>(())
        })?;
        receipt
            .await
            .unwrap_or(Err(CommandError::Stopped(Stopped::Closed)))
    }

    /// Sends a command or an answer once, and waits for the server's reply.
    pub(crate) async fn ask_once(
        &self,
        request: ClientRequest,
    ) -> Result<Acknowledged, CommandError> {
        let (answer, receipt) = oneshot::channel();
        self.handle.shared.with(|core| {
            let id = core.state.ask(request)?;
            core.commands.insert(id, answer);
            Ok::<_, CommandError>(())
        })?;
        receipt
            .await
            .unwrap_or(Err(CommandError::Stopped(Stopped::Closed)))
    }

    /// Returns the commands given to a task. The program that does the work reads them.
    pub fn commands(&self, task_id: &TaskId) -> Commands {
        Commands::of_other(self.clone(), task_id.clone())
    }

    /// Prepares a task that this program performs; see [`Task`](crate::Task).
    pub fn task<I>(&self, task_id: I) -> TaskBuilder
    where
        I: TryInto<TaskId>,
        I::Error: Into<IdError>,
    {
        TaskBuilder::new(self.clone(), task_id)
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.handle.runtime
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Makes a request and returns the receipt of its later answer.
    pub(crate) fn receipt(
        &self,
        ask: impl FnOnce(&mut Core) -> Result<RequestId, ReceiptError>,
    ) -> Result<Receipt, ReceiptError> {
        let (answer, receipt) = oneshot::channel();
        self.handle.shared.with(|core| {
            let id = ask(core)?;
            core.publishes.insert(id, answer);
            Ok(Receipt(receipt))
        })
    }

    pub(crate) fn begin(&self, beginning: Beginning, refused: Option<IdError>) -> (JobId, Receipt) {
        let (answer, receipt) = oneshot::channel();
        let now = Instant::now();
        self.handle.shared.with(|core| {
            let (job, start) = core.state.begin(beginning, refused, now);
            core.publishes.insert(start, answer);
            (job, Receipt(receipt))
        })
    }

    /// Runs work as a task; see [`TaskBuilder::run`](tidings_scope::TaskBuilder::run).
    ///
    /// ```no_run
    /// # async fn example(client: tidings_client::Client) -> Result<(), tidings_client::RunError> {
    /// let bytes = client
    ///     .run("copy-1", |task| async move {
    ///         task.progress(50.0, "half of it");
    ///         Ok(std::fs::copy("a", "b")?)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error if the task could not be started, failed, or was cancelled.
    ///
    /// # Cancel safety
    /// If the future is dropped, the work is dropped and the task is reported as failed.
    pub async fn run<I, F, W, T>(&self, task_id: I, work: F) -> Result<T, RunError>
    where
        I: TryInto<TaskId>,
        I::Error: Into<IdError>,
        F: FnOnce(Reporter) -> W,
        W: Future<Output = Result<T, BoxError>>,
        T: Serialize,
    {
        self.task(task_id).run(work).await
    }

    /// Cancels the tasks that are [run](Self::run), sends all waiting events, and stops the client.
    /// The call takes `timeout` at most. Returns the number of publishes and reports without an
    /// answer, including those that were given up because the server had stopped the client. All
    /// watches end.
    ///
    /// # Cancel safety
    /// If the future is dropped, the tasks are cancelled, but the client stays connected until its
    /// last clone is dropped.
    pub async fn close(self, timeout: Duration) -> usize {
        let began = Instant::now();
        self.handle.shared.closing.send_replace(true);
        let mut scopes = self.handle.shared.scopes.subscribe();
        let _ = tokio::time::timeout(timeout, scopes.wait_for(|scopes| *scopes == 0)).await;
        let left = self.flush(timeout.saturating_sub(began.elapsed())).await;
        self.handle.shared.with(|core| core.state.close());
        left
    }
}

/// Counts an open scope while this guard exists. [`Client::close`] waits for all open scopes.
#[derive(Debug)]
pub struct OpenScope(Client);

impl OpenScope {
    pub(crate) fn new(client: Client) -> Self {
        let scopes = &client.handle.shared.scopes;
        scopes.send_modify(|scopes| *scopes += 1);
        Self(client)
    }
}

impl Drop for OpenScope {
    fn drop(&mut self) {
        self.0
            .handle
            .shared
            .scopes
            .send_modify(|scopes| *scopes -= 1);
    }
}

impl Handle {
    fn event_id(&self, number: u64) -> EventId {
        EventId::new(format!("{}-{number}", self.prefix)).expect("a few dozen hexadecimal digits")
    }
}
