//! `tidings bench`: puts load on a running server and prints the load that the server
//! carried.
//!
//! The watchers and the publisher run in one thread and share their counts without a
//! lock. The bench also checks delivery: a lost or repeated offset is a failure, so it
//! cannot improve a figure.

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

/// The number of handshakes at the same time.
const AT_ONCE: usize = 100;

/// The read buffer of a connection, in bytes. The default is 128 KiB, too much for
/// thousands of connections.
const READ_BUFFER: usize = 8 * 1024;

/// The time limit for the last events to arrive after the last publish.
const DRAIN: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  tidings bench                                  1,000 watchers of one task
  tidings bench --connections 5000 --tasks 100 --in-flight 64
  tidings bench --rate 200 --duration 1m -o json
  tidings bench --url https://tidings.example --ca ca.pem --token-file token

Exit codes: 0 measured; 64 wrong usage; 69 no connection to the server, or it ended one;
76 an event was lost or doubled; 77 the token is missing or not enough.";

/// The load, and the server that receives it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchOptions {
    #[command(flatten)]
    server: Server,

    /// The number of watchers, spread over the tasks
    #[arg(long, value_name = "COUNT", default_value = "1000", value_parser = value::count::<1>)]
    connections: u64,
    /// The number of tasks. Their ids begin with `bench-`; remove them with `tidings rm`
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value::count::<1>)]
    tasks: u64,
    /// Publish this many events a second
    #[arg(long, value_name = "COUNT", conflicts_with = "in_flight", value_parser = value::count::<1>)]
    rate: Option<u64>,
    /// Publish the next event when fewer events than this are on their way to
    /// their watchers. This finds the server's highest rate
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = value::count::<1>)]
    in_flight: u64,
    /// How long to publish
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = value::time::<1>)]
    duration: Duration,
    /// Bytes of text in each event
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = value::size)]
    size: u64,
    #[command(flatten)]
    format: Format,
}

/// The reason why a measurement has no valid result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A connection could not be made, or broke.
    #[error("no connection to {url}")]
    Connection {
        /// The URL of the connection.
        url: String,
        /// The reason.
        #[source]
        cause: Box<tungstenite::Error>,
    },
    /// The server, or a proxy before it, has closed a connection.
    #[error("the server closed a connection{reason}")]
    Closed {
        /// The WebSocket's close code, if one arrived.
        code: Option<u16>,
        /// The reason, appended to the message; may be empty.
        reason: String,
    },
    /// A message does not follow the protocol.
    #[error("a message is not one of tidings.v1")]
    Message(#[source] serde_json::Error),
    /// An event was lost or repeated.
    #[error("the promise is broken: {0}")]
    Broken(String),
}

impl BenchError {
    /// Returns the exit code.
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

/// Runs the whole measurement and prints the result.
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
    // A watcher ends early only after an error.
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

/// Publishes for the whole duration, and prints the progress meanwhile. Then waits for
/// the last events.
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

/// The server to connect to.
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

    /// Returns the URL of a connection that watches a task, or of one without a task.
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

/// Returns true if the server has refused the token.
fn is_refusal(error: &tungstenite::Error) -> bool {
    let status = match error {
        tungstenite::Error::Http(response) => response.status().as_u16(),
        _ => return false,
    };
    matches!(status, 401 | 403)
}

/// Prints a line about the progress. If standard error is closed, there is no reader to
/// tell.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
