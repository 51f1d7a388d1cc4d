//! The tokio task behind a client. The driver carries out the outputs of the state
//! machine.

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

/// The time that the driver has to send waiting events after the last handle is
/// dropped. A server that can be reached answers within this time.
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
    /// True until the first connection attempt has succeeded or failed.
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
                // When the client stops, close the connection in order. After a loss,
                // the connection cannot be used any more.
                if !self.shared.is_stopped() {
                    self.link = Link::None;
                }
            }
            Output::RefreshToken => {
                if let Some(source) = self.source.clone() {
                    self.refreshing = Some(Box::pin(async move { source.fetch().await }));
                }
            }
            // [`Shared::with`] carries out these outputs when they arise.
            Output::Wake(_)
            | Output::Acknowledged(..)
            | Output::Reported
            | Output::Commanded(..)
            | Output::TreeCommanded(..)
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

/// Formats an error together with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}
