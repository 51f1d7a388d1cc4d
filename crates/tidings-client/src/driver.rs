//! The one task behind a client: carries out what the state machine asks for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidings_protocol::Secret;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::endpoint::Endpoint;
use crate::error::Loss;
use crate::shared::Shared;
use crate::state::{Input, Output};
use crate::token::TokenSource;

/// How long what was published goes on being sent when nobody holds the client
/// any more: long enough for a server that is there.
const LINGER: Duration = Duration::from_secs(5);

type Opening = Pin<Box<dyn Future<Output = Result<Connection, Loss>> + Send>>;
type Refreshing = Pin<Box<dyn Future<Output = Option<Secret>> + Send>>;

enum Link {
    None,
    Opening(Opening),
    Open(Box<Connection>),
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    source: Option<TokenSource>,
    link: Link,
    refreshing: Option<Refreshing>,
    until: Option<Instant>,
    /// No attempt has come to anything, or to nothing, yet.
    is_new: bool,
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        endpoint: Endpoint,
        source: Option<TokenSource>,
    ) -> Self {
        Self {
            shared,
            endpoint,
            source,
            link: Link::None,
            refreshing: None,
            until: None,
            is_new: true,
        }
    }

    /// Runs until the client has stopped.
    pub(crate) async fn run(mut self) {
        loop {
            while let Some(output) = self.shared.next_todo() {
                self.carry_out(output);
            }
            if self.shared.is_stopped() {
                if let Link::Open(connection) = std::mem::replace(&mut self.link, Link::None) {
                    connection.close().await;
                }
                return;
            }
            if self.shared.abandoned.load(Ordering::Acquire) {
                let until = *self.until.get_or_insert_with(|| Instant::now() + LINGER);
                if self.shared.pending() == 0 || Instant::now() >= until {
                    self.shared.with(|core| core.state.close());
                    continue;
                }
            }
            self.wait().await;
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Connect(token) => {
                let opening = Connection::open(self.endpoint.clone(), token);
                self.link = Link::Opening(Box::pin(opening));
            }
            Output::Send(text) => {
                if let Link::Open(connection) = &mut self.link {
                    connection.send(text);
                }
            }
            Output::Disconnect => {
                // At the end the connection is closed in order; else it is of no use.
                if !self.shared.is_stopped() {
                    self.link = Link::None;
                }
            }
            Output::RefreshToken => {
                if let Some(source) = self.source.clone() {
                    self.refreshing = Some(Box::pin(async move { source.fetch().await }));
                }
            }
            // Carried out where they arise.
            Output::Wake(_)
            | Output::Acknowledged(..)
            | Output::Reported
            | Output::Commanded(..)
            | Output::Room
            | Output::Status => {}
        }
    }

    async fn wait(&mut self) {
        let due = [self.shared.timeout(), self.until]
            .into_iter()
            .flatten()
            .min();
        let tick = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        let link = async {
            match &mut self.link {
                Link::None => std::future::pending().await,
                Link::Opening(opening) => opening.await.map(|open| Event::Opened(Box::new(open))),
                Link::Open(connection) => connection.next().await.map(Event::Message),
            }
        };
        let token = async {
            match &mut self.refreshing {
                Some(refreshing) => refreshing.await,
                None => std::future::pending().await,
            }
        };
        let shared = &self.shared;
        tokio::select! {
            () = shared.work.notified() => {}
            event = link => match event {
                Ok(Event::Opened(connection)) => {
                    self.is_new = false;
                    self.link = Link::Open(connection);
                    self.shared.handle(Input::Opened);
                }
                Ok(Event::Message(message)) => {
                    self.shared.handle(Input::Message(Box::new(message)));
                }
                Err(loss) => {
                    if self.is_new {
                        self.is_new = false;
                        let (server, cause) = (&self.endpoint, chain(&loss));
                        tracing::warn!(%server, cause, "no connection to the server yet: trying again");
                    } else {
                        tracing::debug!(%loss, server = %self.endpoint, "no connection");
                    }
                    self.link = Link::None;
                    self.shared.handle(Input::Lost(loss));
                }
            },
            token = token => {
                self.refreshing = None;
                self.shared.handle(Input::Token(token));
            }
            () = tick => self.shared.handle(Input::Tick),
        }
    }
}

enum Event {
    Opened(Box<Connection>),
    Message(tidings_protocol::ServerMessage),
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
