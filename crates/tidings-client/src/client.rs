//! The client: a handle, cheap to clone.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidings_protocol::{
    ClientRequest, Data, EventId, IdError, NewEvent, Pattern, Secret, Target, TaskId,
};
use tidings_scope::BoxError;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::config::{ClientConfig, WhenFull};
use crate::driver::Driver;
use crate::endpoint::{Dialer, Endpoint};
use crate::error::{CommandError, ConnectError, InvalidUrl, ReceiptError, Stopped};
use crate::publish::{Acknowledged, Receipt};
use crate::shared::{Core, Shared};
use crate::state::{Beginning, JobId, RequestId, State, Status};
use crate::task::{Commands, Reporter, RunError, TaskBuilder};
use crate::token::TokenSource;
use crate::trust::Trust;
use crate::update::Start;
use crate::watch::Watch;

/// A connection to a Tidings server that comes back by itself.
///
/// Cheap to clone; all clones share one WebSocket. It is closed when the last
/// clone and the last [`Watch`] are gone.
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

/// What all clones and watches hold; when it goes, the client ends.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    #[cfg(feature = "list")]
    endpoint: Endpoint,
    when_full: WhenFull,
    /// What the client's own tasks run on, wherever they are asked for.
    runtime: tokio::runtime::Handle,
    /// What the ids of this client's events begin with.
    prefix: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

/// How a [`Client`] is made.
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
    /// With a token, which goes into the `Authorization` header.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret::from(token.into()));
        self
    }

    /// With a source of tokens. It is asked at the beginning, if no token is
    /// given, and whenever the server has refused the last one; without a
    /// source the client then stops. If it fails it is asked again after a pause.
    #[must_use]
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

    /// With authorities whose certificates are believed beside the system's, as
    /// PEM: for servers with a certificate of a private authority.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// With other than the default settings.
    #[must_use]
    pub fn config(mut self, config: ClientConfig) -> Self {
        self.config = config;
        self
    }

    /// Connects, and waits until the server has greeted.
    ///
    /// # Errors
    /// A setting is wrong, or the first attempt came to nothing: the server is not
    /// there, or refuses this client. For a program that may begin before the
    /// server does there is [`build`](Self::build).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
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

    /// Makes the client. It connects in the background, and keeps trying; see
    /// [`Client::status`] and [`Client::connected`]. The first attempt that comes to
    /// nothing is logged as a warning.
    ///
    /// # Errors
    /// The URL, the token or the root certificates cannot be.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
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

    /// Returns what opens connections to the server, for a program that speaks the
    /// protocol itself. Of the settings only the URL and the certificates count.
    ///
    /// # Errors
    /// The URL or the root certificates cannot be.
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
    /// Connects to the server at a URL, `http`, `https`, `ws` or `wss`, and waits
    /// until it has greeted. Later the client reconnects by itself.
    ///
    /// # Errors
    /// The URL cannot be, the server is not there, or it refuses this client.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect(url: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Makes a client of the server at a URL that connects in the background, and
    /// keeps trying: for programs that may begin before the server does.
    ///
    /// # Errors
    /// The URL cannot be.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(url: impl Into<String>) -> Result<Self, InvalidUrl> {
        Self::builder(url).build()
    }

    /// A client with a token or settings of its own.
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

    /// How client and server stand now.
    pub fn status(&self) -> Status {
        self.handle.shared.with(|core| core.state.status())
    }

    /// Waits until the server has greeted.
    ///
    /// # Errors
    /// The client has stopped: it will not be connected any more.
    ///
    /// # Cancel safety
    /// It changes nothing.
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

    /// Follows how client and server stand. The first value is the present one.
    pub fn watch_status(&self) -> tokio::sync::watch::Receiver<Status> {
        self.handle.shared.status.subscribe()
    }

    /// Shows another token from now on; on a connection that is there, at once.
    /// A client that has stopped stays so.
    ///
    /// # Errors
    /// The token has characters that a header cannot carry.
    pub fn set_token(&self, token: impl Into<String>) -> Result<(), InvalidUrl> {
        let token = token.into();
        HeaderValue::from_str(&token).map_err(|_| InvalidUrl::Token)?;
        let now = Instant::now();
        self.handle
            .shared
            .with(|core| core.state.set_token(token.into(), now));
        Ok(())
    }

    /// Watches a task: its state, then what comes next.
    pub fn watch(&self, task_id: &TaskId) -> Watch {
        self.watch_from(task_id.clone(), Start::Live)
    }

    /// Watches all tasks that match, those to come included.
    pub fn watch_pattern(&self, pattern: &Pattern) -> Watch {
        self.watch_from(pattern.clone(), Start::Live)
    }

    /// Watches from a place of one's own choice.
    pub fn watch_from(&self, target: impl Into<Target>, start: Start) -> Watch {
        let now = Instant::now();
        let target = target.into();
        let id = self
            .handle
            .shared
            .with(|core| core.state.watch(&target, start, now));
        Watch::new(Arc::clone(&self.handle), id)
    }

    /// Publishes an event and waits for the server's answer, through
    /// reconnects if need be. An event without an `event_id` is given one, so
    /// that it can be sent again without being taken twice.
    ///
    /// # Errors
    /// The server refused it, there is no room, or the client has stopped.
    ///
    /// # Cancel safety
    /// Once it waits for the answer the event is on its way: dropping the
    /// future takes nothing back.
    pub async fn publish(
        &self,
        task_id: &TaskId,
        event: NewEvent,
    ) -> Result<Acknowledged, ReceiptError> {
        self.queue(task_id, event).await?.await
    }

    /// Waits for room, if the policy is to wait, and sends: the answer may be
    /// waited for later, which makes a pipeline of several. They arrive in the
    /// order in which they were queued.
    ///
    /// # Errors
    /// There is no room, the event is too large, or the client has stopped.
    ///
    /// # Cancel safety
    /// Dropped before it is done, it has published nothing.
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

    /// Sends without waiting for anything.
    ///
    /// # Errors
    /// There is no room, the event is too large, or the client has stopped.
    pub fn send(&self, task_id: &TaskId, event: NewEvent) -> Result<Receipt, ReceiptError> {
        self.send_as(task_id, event, false)
    }

    /// Sends, and keeps room for it if it is to be `kept`.
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

    /// Publishes that the server has not answered yet.
    pub fn pending(&self) -> usize {
        self.handle.shared.pending()
    }

    /// Waits until every publish so far is answered, for so long at most;
    /// gives how many are not.
    ///
    /// # Cancel safety
    /// It changes nothing.
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
        self.pending()
    }

    /// Asks a task to do something: `cancel`, or whatever its agent understands.
    /// The answer is the place of the request in the task's log; what the task
    /// says to it comes as events.
    ///
    /// A command is sent once: it has no id under which it could be sent again.
    ///
    /// # Errors
    /// The server refused it, the connection broke before it had answered, too
    /// many commands wait, or the client has stopped.
    ///
    /// # Cancel safety
    /// Dropped, the command may still be sent.
    pub async fn command(
        &self,
        task_id: &TaskId,
        command: impl Into<String>,
        args: Option<Data>,
    ) -> Result<Acknowledged, CommandError> {
        self.ask_once(ClientRequest::Command {
            task_id: Some(task_id.clone()),
            command: command.into(),
            args,
        })
        .await
    }

    /// Sends a command or an answer, and waits for what the server says to it.
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

    /// The commands that a task is given: for whoever does the work.
    pub fn commands(&self, task_id: &TaskId) -> Commands {
        Commands::of_other(self.clone(), task_id.clone())
    }

    /// Begins a task that this program does; see [`Task`](crate::Task).
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

    /// Asks for something that is answered later.
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

    /// Does work as a task; see [`TaskBuilder::run`](tidings_scope::TaskBuilder::run).
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
    /// The task was not started, failed, or was cancelled.
    ///
    /// # Cancel safety
    /// Dropped, the work is dropped and the task is reported as failed.
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

    /// Cancels the tasks that are [run](Self::run), sends what waits, for so long at
    /// most, and stops. Returns how many publishes and reports were not answered.
    /// Watches end.
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

/// Counts a scope that [`Client::close`] waits for, while it lives.
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
