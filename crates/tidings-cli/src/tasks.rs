//! `tidings tasks`: which tasks there are, and how they stand.

use std::process::ExitCode;
use std::time::Duration;

use tidings_client::TaskQuery;
use tidings_client::protocol::{Pattern, TaskSnapshot, TaskStatus};

use crate::Failure;
use crate::connect::Server;
use crate::watch::percent;
use crate::{print, print_json};

const EXAMPLES: &str = "\
Examples:
  tidings tasks                        all tasks
  tidings tasks 'build-*'              those whose id begins with build-
  tidings tasks --status running
  tidings tasks --json | jq .task_id   a snapshot a line";

/// List tasks and how they stand
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// Which: a prefix of the id and `*` [default: all]
    pattern: Option<Pattern>,

    /// Only these: pending, running, completed, failed or cancelled
    #[arg(long)]
    status: Option<TaskStatus>,

    /// One snapshot a line, as JSON
    #[arg(long)]
    json: bool,
}

/// For one page of the list.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = arguments.server.client()?;
    let mut query = TaskQuery::default();
    query.prefix = arguments.pattern.map(|pattern| pattern.prefix().to_owned());
    query.status = arguments.status;
    let mut none = true;
    loop {
        let page = tokio::time::timeout(TIMEOUT, client.tasks(&query)).await;
        let page = page.map_err(|_| Failure::Timeout {
            url: arguments.server.url.clone(),
            after: TIMEOUT,
        })??;
        for task in &page.tasks {
            if std::mem::take(&mut none) && !arguments.json {
                print(&format!(
                    "{:<32} {:<10} {:>6}  DOING",
                    "TASK", "STATUS", "DONE"
                ))?;
            }
            if arguments.json {
                print_json(&json(task))?;
            } else {
                print(&row(task))?;
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    if none && !arguments.json {
        crate::output::say("there is no such task");
    }
    Ok(ExitCode::SUCCESS)
}

fn json(task: &TaskSnapshot) -> String {
    serde_json::to_string(task).unwrap_or_default()
}

fn row(task: &TaskSnapshot) -> String {
    let doing = match (&task.error, &task.message) {
        (Some(error), _) => error.to_string(),
        (None, Some(message)) => message.clone(),
        (None, None) => task.name.clone().unwrap_or_default(),
    };
    let stalled = if task.stalled { " (stalled)" } else { "" };
    format!(
        "{:<32} {:<10} {:>6}  {doing}{stalled}",
        task.task_id,
        task.status,
        task.progress.map(percent).unwrap_or_default(),
    )
}
