//! `tidings command`: sends a command to a task and prints the task's answer.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_client::protocol::{
    Event, EventType, ResetReason, TaskCommanded, TaskId, TaskSnapshot,
};
use tidings_client::{Acknowledged, Client, Update, Watch};
use tokio::time::Instant;

use crate::connect::Server;
use crate::data::Words;
use crate::format::Format;
use crate::{Failure, code, complete, print, print_json, value};

const EXAMPLES: &str = "\
Examples:
  tidings command build-1 cancel
  tidings command build-1 cancel grace_ms:=2000
  tidings command host set_interval seconds:=5 reason='too slow'
  tidings command agent-7 pause --no-wait
  tidings command release-7 cancel --tree       and all tasks below it

What a command does is up to whoever does the task; `tidings run` knows cancel,
pause and resume. With --tree all tasks below the task that have not ended are asked as
well, the deepest first. It prints whether each was asked, and waits for none of them.

A task that has ended is not asked, because nobody may be left to answer. Its outcome is
printed instead. With --no-wait it is asked all the same.

Exit codes: 0 done or, with --no-wait, taken; 2 rejected by the task; 3 no answer from
the task in time; 4 the task was removed before its answer; 5 the task has ended without an
answer; 66 there is no such task; 64 wrong usage; 65 no command can have such a value; 69 no answer from the server; 76
refused by the server; 77 the token is missing or not enough.";

/// Ask a task to do something: cancel, pause, or another command of its agent
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The task
    #[arg(add = complete::tasks())]
    task: TaskId,

    /// The name of the command
    command: String,

    /// The command's arguments: a JSON object, or key=text and key:=json as often as needed
    #[arg(value_name = "ARGS")]
    args: Vec<String>,

    /// Do not wait for the task's answer
    #[arg(long)]
    no_wait: bool,

    /// Send the command to all tasks below the task as well
    #[arg(long)]
    tree: bool,

    /// How long to wait, for the server and for the task [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = value::time::<1>)]
    timeout: Option<Duration>,

    #[command(flatten)]
    format: Format,
}

const TIMEOUT: Duration = Duration::from_secs(30);

/// The time for which a task may answer after its end.
const LAST_WORD: Duration = Duration::from_secs(1);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let timeout = arguments.timeout.unwrap_or(TIMEOUT);
    let deadline = Instant::now() + timeout;
    let args = match arguments.args.as_slice() {
        [] => None,
        words => {
            let data = Words::parse(words).and_then(|words| words.data(&[]));
            Some(data.map_err(|wrong| wrong.of("ARGS"))?)
        }
    };
    let task = &arguments.task;
    let client = arguments.server.client()?;
    let away = || Failure::Timeout {
        url: arguments.server.url.clone(),
        after: timeout,
    };
    if arguments.tree {
        let sent = client.command_tree(task, arguments.command.as_str(), args);
        let answers = tokio::time::timeout_at(deadline, sent).await;
        let code = tell_tree(&answers.map_err(|_| away())??, &arguments)?;
        close(client).await;
        return Ok(ExitCode::from(code));
    }
    // Begin the watch before the command is sent, because the answer may arrive before
    // the ack.
    let mut watch = client.watch(task);
    let first = tokio::time::timeout_at(deadline, joined(&mut watch)).await;
    let state = first.map_err(|_| away())??;
    let json = arguments.format.is_json();
    if let Some(state) = state.filter(|state| state.status.is_terminal())
        && !arguments.no_wait
    {
        tell_ended(json, &state)?;
        close(client).await;
        return Ok(ExitCode::from(code::ENDED));
    }
    let sent = client.command(task, arguments.command.as_str(), args);
    let sent = tokio::time::timeout_at(deadline, sent).await;
    let sent = sent.map_err(|_| away())??;
    let position = format!("{}:{}", sent.epoch, sent.offset);
    tell(
        json,
        "requested",
        &json!({ "command": arguments.command, "task_id": task, "position": position }),
        &format!("{} requested of {task}", arguments.command),
    )?;
    if arguments.no_wait {
        return Ok(ExitCode::SUCCESS);
    }
    let code = match answer(&mut watch, &sent, json, deadline).await? {
        Answer::Code(code) => code,
        Answer::Ended => {
            let state = client.snapshot(task);
            let state = tokio::time::timeout_at(deadline, state).await;
            tell_ended(json, &*state.map_err(|_| away())??)?;
            code::ENDED
        }
        Answer::NotInTime => {
            let waited = humantime::format_duration(timeout);
            crate::output::say(&format!(
                "{task} has said nothing to that within {waited}; it stays in the task's pending_commands"
            ));
            code::NOT_IN_TIME
        }
    };
    close(client).await;
    Ok(ExitCode::from(code))
}

async fn close(client: Client) {
    client.close(Duration::from_secs(1)).await;
}

/// Waits until the watch has begun. Returns the task's state at this moment.
async fn joined(watch: &mut Watch) -> Result<Option<Arc<TaskSnapshot>>, Failure> {
    while let Some(update) = watch.recv().await? {
        if let Some(state) = update.snapshot() {
            return Ok(Some(Arc::clone(state)));
        }
    }
    Ok(None)
}

/// Prints how the task has ended.
fn tell_ended(json: bool, state: &TaskSnapshot) -> Result<(), Failure> {
    let more = json!({
        "task_id": state.task_id, "status": state.status, "result": state.result,
        "error": state.error,
    });
    let how = match (&state.error, &state.result) {
        (Some(error), _) => format!(": {error}"),
        (None, Some(result)) => format!(": {result}"),
        (None, None) => String::new(),
    };
    let text = format!("{} has ended: {}{how}", state.task_id, state.status);
    tell(json, "ended", &more, &crate::clean(&text))
}

/// Prints the outcome of the command.
fn tell(json: bool, state: &str, more: &Value, text: &str) -> Result<(), Failure> {
    if !json {
        return print(text);
    }
    let mut told = json!({ "state": state });
    if let (Some(told), Some(more)) = (told.as_object_mut(), more.as_object()) {
        told.extend(more.clone());
    }
    print_json(&told.to_string())
}

/// Prints for each task of a tree whether the server has passed the command on. Returns
/// the exit code.
fn tell_tree(answers: &[TaskCommanded], arguments: &Arguments) -> Result<u8, Failure> {
    let mut code = 0;
    for answer in answers {
        let text = match answer {
            TaskCommanded::Asked { task_id, .. } => {
                format!("{} requested of {task_id}", arguments.command)
            }
            TaskCommanded::Refused {
                task_id, message, ..
            } => {
                code = code::REFUSED;
                format!("{task_id} was not asked: {message}")
            }
        };
        if arguments.format.is_json() {
            print_json(&serde_json::to_string(answer).unwrap_or_default())?;
        } else {
            print(&crate::clean(&text))?;
        }
    }
    Ok(code)
}

/// The end of the wait for a task's answer.
enum Answer {
    /// The answer is printed, and this is its exit code.
    Code(u8),
    /// The task has ended without an answer.
    Ended,
    NotInTime,
}

/// Follows the command at this place in the log until it has ended.
async fn answer(
    watch: &mut Watch,
    sent: &Acknowledged,
    json: bool,
    deadline: Instant,
) -> Result<Answer, Failure> {
    let mut id = None;
    // The time until which an answer may follow the end of the task.
    let mut ends: Option<Instant> = None;
    loop {
        let until = ends.map_or(deadline, |ends| ends.min(deadline));
        let update = match tokio::time::timeout_at(until, watch.recv()).await {
            Ok(update) => update?,
            Err(_) if ends.is_some() => return Ok(Answer::Ended),
            Err(_) => return Ok(Answer::NotInTime),
        };
        let Some(update) = update else {
            return Ok(Answer::NotInTime);
        };
        if let Some(state) = update.snapshot() {
            ends = state
                .status
                .is_terminal()
                .then(|| Instant::now() + LAST_WORD);
        }
        let event = match update {
            Update::Event(event) => event,
            Update::Reset {
                task_id,
                reason: ResetReason::Removed,
                ..
            } => {
                let text = format!("{task_id} was removed");
                tell(json, "removed", &json!({}), &text)?;
                return Ok(Answer::Code(code::REMOVED));
            }
            _ => continue,
        };
        if event.offset == sent.offset {
            id = command_id(&event);
            continue;
        }
        match event.event_type {
            EventType::TaskStarted => ends = None,
            _ if event.event_type.is_terminal() => ends = Some(Instant::now() + LAST_WORD),
            _ => {}
        }
        if id.is_none() || command_id(&event) != id {
            continue;
        }
        let data = event.data.get();
        match event.event_type {
            EventType::CommandAccepted => tell(json, "accepted", &json!({}), "accepted")?,
            EventType::CommandCompleted => {
                let result = data.get("result");
                let shown = result.map(|result| format!(": {result}"));
                let text = format!("completed{}", shown.unwrap_or_default());
                tell(json, "completed", &json!({ "result": result }), &text)?;
                return Ok(Answer::Code(0));
            }
            EventType::CommandRejected => {
                let reason = data.get("reason").and_then(|reason| reason.as_str());
                let text = format!("rejected: {}", reason.unwrap_or("without a reason"));
                tell(json, "rejected", &json!({ "reason": reason }), &text)?;
                return Ok(Answer::Code(code::CANCELLED));
            }
            _ => {}
        }
    }
}

fn command_id(event: &Event) -> Option<String> {
    let id = event.data.get();
    Some(id.get("command_id")?.as_str()?.to_owned())
}
