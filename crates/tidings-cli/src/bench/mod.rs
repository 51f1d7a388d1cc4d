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
use tidings_client::Dialer;
use tidings_client::protocol::TaskId;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval, timeout};
use tokio_tungstenite::client_async_with_config;
use tungstenite::ClientRequestBuilder;
use tungstenite::http::Uri;
use tungstenite::protocol::WebSocketConfig;

use crate::connect::Server;
use crate::format::Format;
use crate::{Failure, code, print_bytes, value};
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

const EXAMPLES: &str = "\
Examples:
  tidings bench                                  1,000 watchers of one task
  tidings bench --connections 5000 --tasks 100 --in-flight 64
  tidings bench --rate 200 --duration 1m -o json
  tidings bench --url https://tidings.example --ca ca.pem --token-file token

Exit codes: 0 measured; 64 wrong usage; 69 no connection to the server, or it ended one;
76 an event was lost or doubled; 77 the token is missing or not enough.";

/// What load to put on which server.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchOptions {
    #[command(flatten)]
    server: Server,

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
    #[command(flatten)]
    format: Format,
}

/// Why there is no result, or none to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
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
    #[error("the server closed a connection{reason}")]
    Closed {
        /// The code of the WebSocket's end, if one came.
        code: Option<u16>,
        /// Why, as it is appended to the message; may be empty.
        reason: String,
    },
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
            Self::Connection { cause, .. } if is_refusal(cause) => code::NO_PERMISSION,
            Self::Closed {
                code: Some(4401 | 4403),
                ..
            } => code::NO_PERMISSION,
            Self::Connection { .. } | Self::Closed { .. } => code::UNAVAILABLE,
            Self::Message(_) | Self::Broken(_) => code::REFUSED,
        }
    }

    fn closed(code: Option<u16>, reason: &str) -> Self {
        let colon = if reason.is_empty() { "" } else { ": " };
        let reason = format!("{colon}{reason}");
        Self::Closed { code, reason }
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
    let target = Target::new(&options.server)?;
    let tally = LocalSet::new()
        .block_on(&runtime, measure(options, &target))
        .map_err(Failure::Bench)?;
    let text = if options.format.is_json() {
        tally.json().to_string()
    } else {
        tally.to_string()
    };
    print_bytes(format!("{text}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &BenchOptions, target: &Target) -> Result<Tally, BenchError> {
    let run = fastrand::u32(..);
    let tasks: Vec<TaskId> = (0..options.tasks)
        .map(|number| TaskId::new(format!("bench-{run:08x}-{number}")))
        .collect::<Result<_, _>>()
        .expect("hexadecimal digits and a number are in the alphabet of ids");
    let connections = value::to_usize(options.connections);
    let tally = Rc::new(RefCell::new(Tally::new(connections, tasks.len())));
    let lanes = Rc::new(Lanes::new(&tasks, connections));

    let began = Instant::now();
    let watchers = connect(target, &tasks, connections).await?;
    say(&format!(
        "{connections} connected in {:.1?}",
        began.elapsed()
    ));
    let size = value::to_usize(options.size);
    let (mut publisher, answers) = publisher::connect(target, &lanes, &tally, began, size).await?;

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
            _ => BenchError::closed(None, ""),
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
    dialer: Dialer,
    token: Option<String>,
}

impl Target {
    fn new(server: &Server) -> Result<Self, Failure> {
        Ok(Self {
            dialer: server.builder()?.dialer()?,
            token: server.token()?,
        })
    }

    /// The address of a connection to a task, or to none.
    fn uri(&self, task: Option<&TaskId>) -> Uri {
        let mut text = self.dialer.websocket();
        if let Some(task) = task {
            text.push_str(&format!("/tasks/{task}"));
        }
        text.parse().expect("a path of ids is a part of a URL")
    }

    /// Opens a connection.
    async fn open(&self, uri: &Uri) -> Result<Socket, BenchError> {
        let mut request = ClientRequestBuilder::new(uri.clone());
        if let Some(token) = &self.token {
            request = request.with_header("Authorization", format!("Bearer {token}"));
        }
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let opened = async {
            let stream = self.dialer.dial().await?;
            client_async_with_config(request, stream, Some(config)).await
        };
        let (socket, _) = opened
            .await
            .map_err(|error| BenchError::connection(uri, error))?;
        Ok(socket)
    }
}

/// Returns whether the server wants another token.
fn is_refusal(error: &tungstenite::Error) -> bool {
    let status = match error {
        tungstenite::Error::Http(response) => response.status().as_u16(),
        _ => return false,
    };
    matches!(status, 401 | 403)
}

/// Tells how it goes. Nobody is left to be told that standard error is closed.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
