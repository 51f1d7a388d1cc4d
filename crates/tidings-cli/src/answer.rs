//! `tidings answer`: answers an open question of a task.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_client::protocol::{ItemId, Json, TaskId};

use crate::connect::Server;
use crate::data::checked;
use crate::format::Format;
use crate::{Failure, complete, print, print_json, value};

const EXAMPLES: &str = "\
Examples:
  tidings get deploy                       shows the open questions of the task
  tidings answer deploy confirm yes
  tidings answer deploy replicas :=3

The first answer wins. Exit codes: 0 answered; 64 wrong usage; 65 no event can have such
a value; 66 there is no such task; 69 no answer from the server; 76 refused, because the
question is answered already, is not open, or the value does not fit it; 77 the token is
missing or not enough.";

/// Answer a question that a task asks
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The task
    #[arg(add = complete::tasks())]
    task: TaskId,

    /// The id of the question, see `tidings get TASK`
    input: ItemId,

    /// The answer: a text, or JSON after `:=`, such as `:=true`
    value: String,

    /// How long to wait for the server [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = value::time::<1>)]
    timeout: Option<Duration>,

    #[command(flatten)]
    format: Format,
}

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let value = parse(&arguments.value)?;
    let client = arguments.server.client()?;
    let timeout = arguments.timeout.unwrap_or(TIMEOUT);
    let answer = client.answer(&arguments.task, &arguments.input, value);
    let taken = arguments.server.within(timeout, answer).await??;
    let position = format!("{}:{}", taken.epoch, taken.offset);
    if arguments.format.is_json() {
        let told = json!({ "task_id": arguments.task, "input_id": arguments.input,
            "position": position });
        print_json(&told.to_string())?;
    } else {
        print(&format!(
            "{} of {} answered",
            arguments.input, arguments.task
        ))?;
    }
    client.close(Duration::from_secs(1)).await;
    Ok(ExitCode::SUCCESS)
}

/// Parses a text, or JSON after `:=`.
fn parse(text: &str) -> Result<Json, Failure> {
    let value = match text.strip_prefix(":=") {
        None => Value::from(text).to_string(),
        Some(value) => value.to_owned(),
    };
    checked("the answer", &value).map_err(|wrong| wrong.of("VALUE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_text_unless_it_is_marked_as_json() {
        assert_eq!(parse("3").unwrap().as_str(), "\"3\"");
        assert_eq!(parse(":=3").unwrap().as_str(), "3");
        assert!(parse(":=yes").is_err());
    }
}
