//! `tidings get`: the state of one task.

use std::process::ExitCode;
use std::time::Duration;

use tidings_client::ListError;
use tidings_client::protocol::{ItemState, TaskId, TaskSnapshot};

use crate::connect::Server;
use crate::format::Format;
use crate::watch::percent;
use crate::{Failure, age, complete, print, print_json};

const EXAMPLES: &str = "\
Examples:
  tidings get build-1
  tidings get build-1 -o json | jq .progress

Exit codes: 0 told; 66 there is no such task; 64 wrong usage; 69 no answer from the
server in time; 77 the token is missing or not enough.";

/// Show how one task stands
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The task
    #[arg(add = complete::tasks())]
    task: TaskId,

    #[command(flatten)]
    format: Format,
}

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = arguments.server.client()?;
    let found = arguments
        .server
        .within(TIMEOUT, client.find(&arguments.task));
    let task = found
        .await?
        .map_err(|error| absent(error, &arguments.task))?;
    if arguments.format.is_json() {
        print_json(&serde_json::to_string(&task).unwrap_or_default())?;
    } else {
        for (name, value) in described(&task) {
            print(&format!("{name:<12}{value}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Turns the status 404 into an error that names the missing task.
pub(crate) fn absent(error: ListError, task: &TaskId) -> Failure {
    match error {
        ListError::Refused { status: 404, .. } => Failure::NoTask {
            task: task.to_string(),
        },
        other => Failure::List(other),
    }
}

fn described(task: &TaskSnapshot) -> Vec<(&'static str, String)> {
    let moment = |at| format!("{at} ({} ago)", age::short(age::since(at)));
    let mut rows = vec![("task", task.task_id.to_string())];
    let mut add = |name, value: Option<String>| rows.extend(value.map(|value| (name, value)));
    add("name", task.name.clone());
    let stalled = if task.stalled { " (stalled)" } else { "" };
    add("status", Some(format!("{}{stalled}", task.status)));
    add("run", (task.run > 0).then(|| task.run.to_string()));
    add(
        "parent",
        task.parent_task_id.as_ref().map(ToString::to_string),
    );
    add("progress", task.progress.map(percent));
    add("stage", task.stage.clone());
    add("message", task.message.clone());
    add("error", task.error.as_ref().map(ToString::to_string));
    add(
        "result",
        task.result
            .as_ref()
            .map(|result| result.as_str().to_owned()),
    );
    add("started", task.started_at.map(moment));
    add("updated", task.updated_at.map(moment));
    add("finished", task.finished_at.map(moment));
    add("took", age::took(task).map(age::short));
    for agent in &task.agents {
        let message = agent.message.as_deref().unwrap_or_default();
        let text = format!("{} is {} {message}", agent.agent_id, agent.status);
        add("agent", Some(text.trim_end().to_owned()));
    }
    for step in task
        .steps
        .iter()
        .filter(|step| step.state == ItemState::Running)
    {
        let name = step.name.as_deref().unwrap_or(step.step_id.as_str());
        add("step", Some(name.to_owned()));
    }
    for call in task
        .tool_calls
        .iter()
        .filter(|call| call.state == ItemState::Running)
    {
        add("tool", Some(call.tool.clone()));
    }
    for input in &task.pending_inputs {
        add(
            "asks",
            Some(format!("{}: {}", input.input_id, input.prompt)),
        );
    }
    for command in &task.pending_commands {
        let taken = if command.accepted {
            "accepted"
        } else {
            "no answer yet"
        };
        add(
            "command",
            Some(format!("{} by {}: {taken}", command.command, command.by)),
        );
    }
    for output in &task.outputs {
        let whole = if output.complete {
            ""
        } else {
            ", not complete"
        };
        add(
            "output",
            Some(format!(
                "{}: {} bytes{whole}",
                output.output_id, output.length
            )),
        );
    }
    for artifact in &task.artifacts {
        let name = artifact
            .name
            .as_deref()
            .unwrap_or(artifact.artifact_id.as_str());
        let url = artifact.url.as_deref().unwrap_or_default();
        add(
            "artifact",
            Some(format!("{name} {url}").trim_end().to_owned()),
        );
    }
    add("position", Some(format!("{}:{}", task.epoch, task.offset)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_described() {
        let mut task = TaskSnapshot::new("build-1".parse().unwrap(), "e".parse().unwrap());
        task.progress = Some(40.0);
        let rows = described(&task);
        let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["task", "status", "progress", "position"]);
        assert_eq!(rows[2].1, "40 %");
    }
}
