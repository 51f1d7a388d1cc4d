//! `tidings bench`: puts load on a running server and says what it carried.
//!
//! One thread: watchers and publisher share their counts without a lock. It
//! checks the promise on what it reads, so an offset that is lost or doubled is
//! a failure and not a better figure.

mod lanes;
mod publisher;
mod tally;
mod watcher;

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tidings_client::protocol::TaskId;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::connect_async_with_config;
use tungstenite::ClientRequestBuilder;
use tungstenite::http::Uri;
use tungstenite::protocol::WebSocketConfig;

use crate::{Failure, print_bytes, value};
use lanes::Lanes;
use publisher::{Pace, Publisher};
use tally::Tally;
use watcher::{Socket, Watcher};

/// Handshakes under way at a time.
const AT_ONCE: usize = 100;

/// Read buffer of a connection; the default would be 128 KiB for each of thousands.
const READ_BUFFER: usize = 8 * 1024;

/// How long the last events may take to arrive after the last was published.
const DRAIN: Duration = Duration::from_secs(10);

/// What load to put on which server.
#[derive(Debug, Args)]
pub struct BenchOptions {
    /// The server
    #[arg(
        long,
        value_name = "URL",
        env = "TIDINGS_URL",
        default_value = "http://127.0.0.1:8000"
    )]
    url: String,
    /// What to prove oneself with, where the server asks for it
    #[arg(long, value_name = "TOKEN", env = "TIDINGS_TOKEN")]
    token: Option<String>,
    /// Watchers, spread over the tasks
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = value::count::<1>)]
    connections: u64,
    /// Tasks, named `bench-…`; the server forgets them as it does any others
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value::count::<1>)]
    tasks: u64,
    /// Publish so many events a second
    #[arg(long, value_name = "COUNT", conflicts_with = "in_flight", value_parser = value::count::<1>)]
    rate: Option<u64>,
    /// Publish the next event when fewer than so many have yet to reach their
    /// last watcher: finds what the server can carry
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value::count::<1>)]
    in_flight: u64,
    /// How long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = value::time::<1>)]
    duration: Duration,
    /// Bytes of text in each event
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = value::size)]
    size: u64,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Why there is no result, or none to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The address is none.
    #[error("{url} is not the URL of a server")]
    Url {
        /// What was given.
        url: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A connection did not come about, or broke.
    #[error("no connection to {url}")]
    Connection {
        /// Where to.
        url: String,
        /// Why.
        #[source]
        cause: Box<tungstenite::Error>,
    },
    /// The server or something before it ended a connection.
    #[error("the server closed a connection{0}")]
    Closed(String),
    /// What came is not what the protocol says.
    #[error("a message is not one of tidings.v1")]
    Message(#[source] serde_json::Error),
    /// An event was lost or doubled.
    #[error("the promise is broken: {0}")]
    Broken(String),
}

impl BenchError {
    /// What to exit with.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Url { .. } => 64,                          // EX_USAGE
            Self::Connection { .. } | Self::Closed(_) => 69, // EX_UNAVAILABLE
            Self::Message(_) | Self::Broken(_) => 76,        // EX_PROTOCOL
        }
    }

    fn connection(url: &Uri, error: tungstenite::Error) -> Self {
        Self::Connection {
            url: url.to_string(),
            cause: Box::new(error),
        }
    }
}

/// Runs to the end of the measurement and prints what came of it.
pub(crate) fn run(options: &BenchOptions) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::System)?;
    let tally = LocalSet::new()
        .block_on(&runtime, measure(options))
        .map_err(Failure::Bench)?;
    let text = if options.json {
        tally.json().to_string()
    } else {
        tally.to_string()
    };
    print_bytes(format!("{text}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &BenchOptions) -> Result<Tally, BenchError> {
    let run = fastrand::u32(..);
    let tasks: Vec<TaskId> = (0..options.tasks)
        .map(|number| TaskId::new(format!("bench-{run:08x}-{number}")))
        .collect::<Result<_, _>>()
        .expect("hexadecimal digits and a number are in the alphabet of ids");
    let target = Target::new(&options.url, options.token.as_deref())?;
    let connections = value::to_usize(options.connections);
    let tally = Rc::new(RefCell::new(Tally::new(connections, tasks.len())));
    let lanes = Rc::new(Lanes::new(&tasks, connections));

    let began = Instant::now();
    let watchers = connect(&target, &tasks, connections).await?;
    say(&format!(
        "{connections} connected in {:.1?}",
        began.elapsed()
    ));
    let size = value::to_usize(options.size);
    let (mut publisher, answers) = publisher::connect(&target, &lanes, &tally, began, size).await?;

    let mut running = FuturesUnordered::new();
    for watcher in watchers {
        let watching = watcher.run(began, Rc::clone(&tally), Rc::clone(&lanes));
        running.push(spawn_local(watching));
    }
    running.push(spawn_local(answers.run()));
    // None of them ends before its time, unless something is wrong.
    let failed = async {
        match running.next().await {
            Some(Ok(Err(error))) => error,
            _ => BenchError::Closed(String::new()),
        }
    };
    tokio::select! {
        error = failed => Err(error),
        done = publish(&mut publisher, &tally, options) => done.map(|()| tally.take()),
    }
}

/// Publishes for the whole duration, waits for the last events, and tells how
/// it goes meanwhile.
async fn publish(
    publisher: &mut Publisher,
    tally: &RefCell<Tally>,
    options: &BenchOptions,
) -> Result<(), BenchError> {
    let pace = match options.rate {
        Some(rate) => Pace::Rate(u32::try_from(rate).unwrap_or(u32::MAX)),
        None => Pace::InFlight(value::to_usize(options.in_flight)),
    };
    tally.borrow_mut().start();
    let telling = async {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.tick().await;
        loop {
            seconds.tick().await;
            let line = tally.borrow_mut().progress();
            say(&line);
        }
    };
    tokio::select! {
        () = telling => {}
        ended = timeout(options.duration, publisher.run(pace)) => {
            if let Ok(Err(error)) = ended {
                return Err(error);
            }
        }
    }
    tally.borrow_mut().stop();
    let deadline = Instant::now() + DRAIN;
    loop {
        let missing = tally.borrow().missing();
        if missing == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(BenchError::Broken(format!(
                "{missing} deliveries are still missing after {} s",
                DRAIN.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn connect(
    target: &Target,
    tasks: &[TaskId],
    connections: usize,
) -> Result<Vec<Watcher>, BenchError> {
    let handshakes = (0..connections).map(|number| {
        let task = number % tasks.len();
        Watcher::connect(target, &tasks[task], task)
    });
    let mut handshakes = futures_util::stream::iter(handshakes).buffer_unordered(AT_ONCE);
    let mut watchers = Vec::with_capacity(connections);
    while let Some(watcher) = handshakes.next().await {
        watchers.push(watcher?);
    }
    Ok(watchers)
}

/// Where connections go.
struct Target {
    /// `ws://host:port/prefix`, without a slash at its end.
    base: String,
    token: Option<String>,
}

impl Target {
    fn new(url: &str, token: Option<&str>) -> Result<Self, BenchError> {
        let wrong = |cause: Box<dyn std::error::Error + Send + Sync>| BenchError::Url {
            url: url.to_owned(),
            cause,
        };
        let uri: Uri = url.parse().map_err(|error| wrong(Box::new(error)))?;
        let scheme = match uri.scheme_str() {
            Some("ws" | "http") => "ws",
            Some("wss" | "https") => "wss",
            _ => {
                return Err(wrong(
                    "it begins with ws://, http://, wss:// or https://".into(),
                ));
            }
        };
        let Some(authority) = uri.authority() else {
            return Err(wrong("it names no host".into()));
        };
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            base: format!("{scheme}://{authority}{path}"),
            token: token.map(str::to_owned),
        })
    }

    /// The address of a connection to a task, or to none.
    fn uri(&self, task: Option<&TaskId>) -> Result<Uri, BenchError> {
        let text = match task {
            Some(task) => format!("{}/ws/tasks/{task}", self.base),
            None => format!("{}/ws", self.base),
        };
        text.parse().map_err(|error| BenchError::Url {
            url: self.base.clone(),
            cause: Box::new(error),
        })
    }

    /// Opens a connection.
    async fn open(&self, uri: &Uri) -> Result<Socket, BenchError> {
        let mut request = ClientRequestBuilder::new(uri.clone());
        if let Some(token) = &self.token {
            request = request.with_header("Authorization", format!("Bearer {token}"));
        }
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let opened = connect_async_with_config(request, Some(config), true).await;
        let (socket, _) = opened.map_err(|error| BenchError::connection(uri, error))?;
        Ok(socket)
    }
}

/// Tells how it goes. Nobody is left to be told that standard error is closed.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_as_browsers_or_websockets_do() {
        let task: TaskId = "t-1".parse().unwrap();
        for (given, expected) in [
            ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/ws/tasks/t-1"),
            ("ws://a.example/", "ws://a.example/ws/tasks/t-1"),
            (
                "https://a.example/tidings/",
                "wss://a.example/tidings/ws/tasks/t-1",
            ),
        ] {
            let target = Target::new(given, None).unwrap();
            assert_eq!(target.uri(Some(&task)).unwrap().to_string(), expected);
        }
        for wrong in ["127.0.0.1:8000", "ftp://a.example", "http://"] {
            assert!(Target::new(wrong, None).is_err(), "{wrong}");
        }
    }
}
