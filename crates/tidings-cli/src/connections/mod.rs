//! `tidings connections`, `kick` and `send`: list connected clients and act on them.

pub(crate) mod kick;
pub(crate) mod send;

use std::process::ExitCode;
use std::time::Duration;

use tidings_client::protocol::{ClientId, TaskId};
use tidings_client::{ConnectedClient, ListError};

use crate::connect::Server;
use crate::format::Format;
use crate::table::Table;
use crate::{Failure, age, complete, print_json};

const EXAMPLES: &str = "\
Examples:
  tidings connections                   everybody
  tidings connections --task build-1    those who watch this task
  tidings connections -o json | jq .client_id

It takes the permission `admin`. BEHIND counts the events that a client has still to
get. Exit codes: 0 listed; 64 wrong usage; 69 no answer from the server in time; 77 the
token is missing or not enough.";

/// List the connected clients, their subscriptions, and how far behind they are
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// Only clients that watch this task
    #[arg(long, value_name = "TASK", add = complete::tasks())]
    task: Option<TaskId>,

    #[command(flatten)]
    format: Format,
}

const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = arguments.server.client()?;
    let asked = client.connections(arguments.task.as_ref());
    let connections = arguments.server.within(TIMEOUT, asked).await??;
    if arguments.format.is_json() {
        for connection in &connections {
            print_json(&serde_json::to_string(connection).unwrap_or_default())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let header = [
        "CLIENT", "AGE", "FROM", "BY", "SUBJECT", "BEHIND", "WATCHES",
    ];
    let mut table = Table::new(&header);
    for connection in &connections {
        table.row(row(connection));
    }
    if table.is_empty() {
        crate::output::say("nobody is connected");
    } else {
        table.print()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(connection: &ConnectedClient) -> [String; 7] {
    let tasks = connection.subscriptions.iter();
    let tasks = tasks.map(|watched| watched.task_id.to_string());
    let patterns = connection.patterns.iter().map(ToString::to_string);
    let trees = connection
        .trees
        .iter()
        .map(|tree| format!("{tree} and below"));
    let watches: Vec<_> = patterns.chain(trees).chain(tasks).collect();
    let blocked = if connection.blocked { " (blocked)" } else { "" };
    [
        connection.client_id.to_string(),
        age::short(age::since(connection.connected_at)),
        connection.remote_addr.clone().unwrap_or_default(),
        connection.transport.clone(),
        connection.subject.clone().unwrap_or_default(),
        format!("{}{blocked}", connection.lag),
        watches.join(" "),
    ]
}

/// Turns the status 404 into an error that names the missing client.
fn absent(error: ListError, client: &ClientId) -> Failure {
    match error {
        ListError::Refused { status: 404, .. } => Failure::NoClient {
            client: client.to_string(),
        },
        other => Failure::List(other),
    }
}
