//! `tidings watch`: tasks as they go, for people and for programs.

mod bars;
mod json;
mod lines;
mod outcome;
mod states;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::SelectAll;
use tidings_client::protocol::{Since, Target};
use tidings_client::{Start, Update};

use crate::Failure;
use crate::connect::Server;
use outcome::Outcome;
use states::States;

const EXAMPLES: &str = "\
Examples:
  tidings watch build-1                       one task
  tidings watch 'build-*' render-7            all that match, and another
  tidings watch 'build-*' --logs              with what they put out
  tidings watch build-1 --until-end && deploy wait for it, and go on if it is well
  tidings watch build-1 --since 0 --json      all that is retained, as JSON

In a terminal there is a live bar for each task, with its agents and tools beneath;
into a pipe or a file, a line for each event. If the server goes away, it is tried
again, and nothing is missed. With --json each line is a message of the protocol;
`disconnected` and `reconnected` are told as well.

With --until-end the exit code is the outcome: 0 completed, 1 failed, 2 cancelled;
of several tasks, the first of failed, cancelled, completed that occurs. Others: 1
refused by the server, 64 wrong usage, 69 dismissed by the server, 77 the token is
missing or not enough.";

/// Watch tasks: live bars in a terminal, lines in a pipe
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// A task, or all whose id begins so: `build-*`
    #[arg(value_name = "TASK|PATTERN", required = true, value_parser = target)]
    targets: Vec<Target>,

    /// One JSON message a line
    #[arg(long)]
    json: bool,

    /// Lines and not bars, in a terminal too
    #[arg(long, conflicts_with = "json")]
    plain: bool,

    /// In a terminal, what the tasks put out as well
    #[arg(long, conflicts_with_all = ["json", "plain"])]
    logs: bool,

    /// Return when the tasks have ended, with their outcome as exit code
    #[arg(long)]
    until_end: bool,

    /// Go on after a position `epoch:offset`; 0 for all that is retained
    #[arg(long, value_name = "POSITION")]
    since: Option<Since>,

    /// Up to so many events from before as well
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    history: Option<u32>,
}

fn target(text: &str) -> Result<Target, String> {
    let parsed = if text.ends_with('*') {
        text.parse().map(Target::Pattern)
    } else {
        text.parse().map(Target::Task)
    };
    parsed.map_err(|error| error.to_string())
}

/// What shows updates.
trait View {
    /// Shows an update, which `states` has taken in.
    ///
    /// # Errors
    /// Standard output cannot be written.
    fn show(&mut self, update: &Update, states: &States) -> Result<(), Failure>;

    /// Leaves things as they are to stay.
    fn finish(&mut self) {}
}

/// With a pattern, tasks are told one by one: quiet for so long, all that were
/// there are known.
const SETTLED: Duration = Duration::from_millis(300);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let url = arguments.server.url.clone();
    let client = arguments.server.builder()?.build()?;
    let start = match (arguments.since, arguments.history) {
        (Some(since), _) => Start::from(since),
        (None, Some(count)) => Start::History(count),
        (None, None) => Start::Live,
    };
    let mut updates: SelectAll<_> = arguments
        .targets
        .iter()
        .map(|target| client.watch_from(target.clone(), start.clone()))
        .collect();
    let mut view: Box<dyn View> = if arguments.json {
        Box::new(json::Json)
    } else if std::io::stdout().is_terminal() && !arguments.plain {
        Box::new(bars::Bars::new(url, arguments.logs))
    } else {
        Box::new(lines::Lines::new(url))
    };
    let mut states = States::default();
    let code = loop {
        let outcome = arguments
            .until_end
            .then(|| outcome::of(&arguments.targets, &states))
            .flatten();
        let update = match outcome {
            Some(outcome) => match tokio::time::timeout(SETTLED, updates.next()).await {
                Ok(update) => update,
                Err(_) => break outcome,
            },
            None => updates.next().await,
        };
        match update {
            Some(Ok(update)) => {
                states.take(&update);
                if let Err(failure) = view.show(&update, &states) {
                    view.finish();
                    return Err(failure);
                }
            }
            Some(Err(error)) => {
                view.finish();
                return Err(error.into());
            }
            None => break Outcome::Completed,
        }
    };
    view.finish();
    client.close(Duration::from_secs(1)).await;
    Ok(ExitCode::from(code.code()))
}

/// A percentage, without a fraction where there is none.
pub(super) fn percent(percent: f64) -> String {
    format!("{} %", (percent * 10.0).round() / 10.0)
}
