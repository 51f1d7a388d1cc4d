//! `tidings rm`: removes tasks with their logs and states.

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tidings_client::protocol::{Target, TaskId};
use tidings_client::{Client, TaskQuery};

use crate::connect::Server;
use crate::format::Format;
use crate::get::absent;
use crate::watch::target;
use crate::{Failure, complete, print, print_json};

const EXAMPLES: &str = "\
Examples:
  tidings rm build-1
  tidings rm 'bench-*'        all whose id begins so, running ones too

The events and the state of a task are gone; its watchers are told. It takes the
permission `admin`. Exit codes: 0 removed; 66 there is no such task; 64 wrong usage; 69
no answer from the server in time; 77 the token is missing or not enough.";

/// Remove tasks, with their events and states
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// A task, or a pattern: `bench-*` means all tasks whose id begins with `bench-`
    #[arg(value_name = "TASK|PATTERN", required = true, value_parser = target,
          add = complete::tasks())]
    targets: Vec<Target>,

    #[command(flatten)]
    format: Format,
}

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = arguments.server.client()?;
    let mut absence = None;
    // Find all tasks before the first one is removed. Targets may overlap.
    let mut tasks = Vec::new();
    for target in &arguments.targets {
        let found = match target.task_id() {
            Some(task) => vec![task.clone()],
            None => matching(&arguments.server, &client, target).await?,
        };
        if found.is_empty() {
            let task = target.to_string();
            absence = absence.or(Some(Failure::NoTask { task }));
        }
        tasks.extend(found);
    }
    let mut told = HashSet::new();
    tasks.retain(|task| told.insert(task.clone()));
    for task in &tasks {
        let removed = arguments
            .server
            .within(TIMEOUT, client.remove(task))
            .await?;
        match removed.map_err(|error| absent(error, task)) {
            Ok(()) => tell(task, &arguments.format)?,
            // Remove the other tasks even if one is missing.
            Err(failure @ Failure::NoTask { .. }) => absence = absence.or(Some(failure)),
            Err(failure) => return Err(failure),
        }
    }
    match absence {
        Some(failure) => Err(failure),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn tell(task: &TaskId, format: &Format) -> Result<(), Failure> {
    if format.is_json() {
        return print_json(&json!({ "task_id": task, "removed": true }).to_string());
    }
    print(&format!("{task} removed"))
}

/// Lists all tasks of a pattern.
async fn matching(
    server: &Server,
    client: &Client,
    target: &Target,
) -> Result<Vec<TaskId>, Failure> {
    let mut query = TaskQuery::default();
    query.prefix = target.pattern().map(|pattern| pattern.prefix().to_owned());
    let mut tasks = Vec::new();
    loop {
        let page = server.within(TIMEOUT, client.tasks(&query)).await??;
        tasks.extend(page.tasks.into_iter().map(|task| task.task_id));
        query.after = page.next;
        if query.after.is_none() {
            return Ok(tasks);
        }
    }
}
