//! `tidings wait`: waits for the end of tasks, and prints the outcome of each.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tidings_client::protocol::{Target, TaskId, TaskStatus};
use tidings_client::{Start, Update};

use super::follow::Watching;
use super::states::States;
use super::{View, outcome, target};
use crate::connect::{Server, away_message};
use crate::format::Format;
use crate::output::say;
use crate::{Failure, age, complete, print, print_json, value};

const EXAMPLES: &str = "\
Examples:
  tidings wait build-1 && deploy
  tidings wait build-1 test-1 --timeout 10m
  tidings wait 'build-*' -o json

Says how each task has ended. A task that is not there yet is waited for, too.
Exit codes: 0 all have completed, 1 one has failed, 2 one was cancelled, 4 one was
removed before its end; 3 one has not ended within --timeout; 66 there is no such task
(with --must-exist at once, and otherwise after --timeout); 64 wrong usage; 69 no
answer from the server in time, or dismissed by it; 76 refused by the server; 77 the
token is missing or not enough.";

/// Wait until tasks have ended; the exit code is their outcome
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// A task, or a pattern: `build-*` means all tasks whose id begins with `build-`
    #[arg(value_name = "TASK|PATTERN", required = true, value_parser = target,
          add = complete::tasks())]
    targets: Vec<Target>,

    /// How long to wait at most [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = value::time::<1>)]
    timeout: Option<Duration>,

    /// If there is no such task yet, end at once with an error
    #[arg(long)]
    must_exist: bool,

    #[command(flatten)]
    format: Format,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let mut ends = Ends {
        url: arguments.server.url.clone(),
        json: arguments.format.is_json(),
        told: BTreeSet::new(),
        away: false,
    };
    let watching = Watching {
        targets: arguments.targets,
        tree: false,
        start: Start::Live,
        until_end: true,
        timeout: arguments.timeout,
        must_exist: arguments.must_exist,
    };
    watching.follow(&arguments.server, &mut ends).await
}

/// Prints the outcome of each task once.
struct Ends {
    url: String,
    json: bool,
    told: BTreeSet<TaskId>,
    away: bool,
}

impl View for Ends {
    fn show(&mut self, update: &Update, states: &States) -> Result<(), Failure> {
        match update {
            Update::Disconnected { loss, .. } if !self.away => {
                self.away = true;
                say(&away_message(&self.url, loss));
            }
            Update::Reconnected if self.away => {
                self.away = false;
                say("connected");
            }
            _ => {}
        }
        let Some(task) = update.task_id() else {
            return Ok(());
        };
        if outcome::of_task(task, states).is_none() {
            self.told.remove(task);
            return Ok(());
        }
        if !self.told.insert(task.clone()) {
            return Ok(());
        }
        self.tell(task, states)
    }
}

impl Ends {
    fn tell(&self, task: &TaskId, states: &States) -> Result<(), Failure> {
        let state = states.get(task).filter(|_| !states.is_removed(task));
        if self.json {
            let status = state.map_or("removed", |state| state.status.as_str());
            let error = state.and_then(|state| state.error.clone());
            let result = state.and_then(|state| state.result.clone());
            let json = json!({
                "task_id": task, "status": status, "result": result, "error": error,
            });
            return print_json(&json.to_string());
        }
        let Some(state) = state else {
            return print(&format!("{task} was removed"));
        };
        let took = age::took(state).map(|took| format!(" in {}", age::short(took)));
        let why = match state.status {
            TaskStatus::Failed => state.error.as_ref().map(ToString::to_string),
            TaskStatus::Cancelled => state.message.clone(),
            _ => None,
        };
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        let (status, took) = (state.status, took.unwrap_or_default());
        print(&format!("{task} {status}{took}{why}"))
    }
}
