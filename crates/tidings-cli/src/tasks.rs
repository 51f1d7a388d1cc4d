//! `tidings tasks`: lists tasks and their states.

use std::process::ExitCode;
use std::time::Duration;

use tidings_client::TaskQuery;
use tidings_client::protocol::{Pattern, TaskId, TaskSnapshot, TaskStatus};

use crate::connect::Server;
use crate::format::Format;
use crate::table::Table;
use crate::watch::percent;
use crate::{Failure, age, complete, print_json};

const EXAMPLES: &str = "\
Examples:
  tidings tasks                        all tasks
  tidings tasks 'build-*'              those whose id begins with build-
  tidings tasks --status running
  tidings tasks --parent release-7     the tasks directly below release-7
  tidings tasks -o json | jq .task_id  a snapshot a line

AGE is the time since the last run began, TOOK how long it lasted. In a terminal each
row is cut to one line; into a pipe or a file nothing is cut.";

/// List tasks and how they stand
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// Only tasks that match this pattern, such as `build-*` [default: all tasks]
    pattern: Option<Pattern>,

    /// Only tasks in this state: pending, running, completed, failed or cancelled
    #[arg(long)]
    status: Option<TaskStatus>,

    /// Only tasks directly below this task
    #[arg(long, value_name = "TASK", add = complete::tasks())]
    parent: Option<TaskId>,

    #[command(flatten)]
    format: Format,
}

/// The time limit for one page of the list.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = arguments.server.client()?;
    let mut query = TaskQuery::default();
    query.prefix = arguments.pattern.map(|pattern| pattern.prefix().to_owned());
    query.status = arguments.status;
    query.parent = arguments.parent;
    let mut table = Table::new(&["TASK", "STATUS", "DONE", "AGE", "TOOK", "DOING"]);
    loop {
        let page = arguments.server.within(TIMEOUT, client.tasks(&query));
        let page = page.await??;
        for task in &page.tasks {
            if arguments.format.is_json() {
                print_json(&serde_json::to_string(task).unwrap_or_default())?;
            } else {
                table.row(row(task));
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    if arguments.format.is_json() {
        return Ok(ExitCode::SUCCESS);
    }
    if table.is_empty() {
        crate::output::say("there is no such task");
    } else {
        table.print()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(task: &TaskSnapshot) -> [String; 6] {
    let began = task.started_at.or(task.updated_at);
    let took = task.finished_at.and_then(|_| age::took(task));
    [
        task.task_id.to_string(),
        task.status.to_string(),
        task.progress.map(percent).unwrap_or_default(),
        began.map(age::since).map(age::short).unwrap_or_default(),
        took.map(age::short).unwrap_or_default(),
        doing(task),
    ]
}

/// Returns the present work of a task, or the reason of its failure.
pub(crate) fn doing(task: &TaskSnapshot) -> String {
    let doing = match (&task.error, &task.message) {
        (Some(error), _) => error.to_string(),
        (None, Some(message)) => message.clone(),
        (None, None) => task.name.clone().unwrap_or_default(),
    };
    let stalled = if task.stalled { " (stalled)" } else { "" };
    let waits = match task.pending_inputs.len() {
        0 => String::new(),
        1 => " (asks a question)".to_owned(),
        count => format!(" (asks {count} questions)"),
    };
    format!("{doing}{stalled}{waits}")
}
