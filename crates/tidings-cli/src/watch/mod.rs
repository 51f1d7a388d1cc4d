//! `tidings watch`: shows tasks live, for people and for programs.

mod bars;
mod beneath;
mod follow;
mod json;
mod lines;
mod order;
mod outcome;
mod outputs;
mod states;
pub(crate) mod wait;

use std::process::ExitCode;
use std::time::Duration;

use tidings_client::protocol::{Since, Target};
use tidings_client::{Start, Update};

use crate::connect::Server;
use crate::format::Format;
use crate::{Failure, complete, value};
use follow::Watching;
use states::States;

pub(crate) use lines::{missing, started_over};

const EXAMPLES: &str = "\
Examples:
  tidings watch build-1                       one task
  tidings watch 'build-*' render-7            all that match, and another
  tidings watch build-1 --tree                and all tasks below it, in a pipe as well
  tidings watch 'build-*' --logs              with what they put out
  tidings watch build-1 --until-end && deploy wait for it, and go on if it is well
  tidings watch build-1 --since 0 -o json     all that is retained, as JSON

In a terminal each task has a live bar. Beneath it are its agents, steps, tools and
questions, and what an agent is saying; the tasks below it stand under it. In a pipe, in
a file, and in a terminal that cannot draw (TERM is unset or `dumb`), each event is a
line, and the tasks below are shown only with --tree. If the server goes away, `tidings
watch` connects again, and nothing is missed. With -o json each line is a message of the
protocol; `disconnected` and `reconnected` are reported too.

With --until-end the exit code is the outcome: 0 completed, 1 failed, 2 cancelled,
4 removed before its end; of several tasks, the first of failed, removed, cancelled and
completed that occurs. Other codes: 3 a task has not ended within --timeout; 66 there is
no such task (with --must-exist at once, and otherwise after --timeout); 64 wrong usage;
69 no answer from the server in time, or dismissed by it; 76 refused by the server; 77
the token is missing or not enough.";

/// Watch tasks: live bars in a terminal, lines in a pipe
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// A task, or a pattern: `build-*` means all tasks whose id begins with `build-`
    #[arg(value_name = "TASK|PATTERN", required = true, value_parser = target,
          add = complete::tasks())]
    targets: Vec<Target>,

    #[command(flatten)]
    format: Format,

    /// Show all tasks below the tasks as well; live bars always do so
    #[arg(long)]
    tree: bool,

    /// Print lines instead of bars, in a terminal as well
    #[arg(long, conflicts_with = "json")]
    plain: bool,

    /// In a terminal, show the output of the tasks as well
    #[arg(long, conflicts_with_all = ["json", "plain"])]
    logs: bool,

    /// Return when the tasks have ended, with their outcome as exit code
    #[arg(long)]
    until_end: bool,

    /// With --until-end, how long to wait at most [default: for ever]
    #[arg(long, value_name = "TIME", requires = "until_end", value_parser = value::time::<1>)]
    timeout: Option<Duration>,

    /// If there is no such task yet, end at once with an error
    #[arg(long)]
    must_exist: bool,

    /// Begin after this position (`epoch:offset`), or with all that is retained (0)
    #[arg(long, value_name = "POSITION")]
    since: Option<Since>,

    /// Show up to this many earlier events first
    #[arg(long, value_name = "COUNT", conflicts_with = "since")]
    history: Option<u32>,
}

pub(crate) fn target(text: &str) -> Result<Target, String> {
    let parsed = if text.ends_with('*') {
        text.parse().map(Target::Pattern)
    } else {
        text.parse().map(Target::Task)
    };
    parsed.map_err(|error| error.to_string())
}

/// Shows updates.
trait View {
    /// Shows an update, which `states` already contains.
    ///
    /// # Errors
    /// Returns an error if standard output cannot be written.
    fn show(&mut self, update: &Update, states: &States) -> Result<(), Failure>;

    /// Completes the output, so that it stays on the screen.
    ///
    /// # Errors
    /// Returns an error if standard output cannot be written.
    fn finish(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let url = arguments.server.url.clone();
    let start = match (arguments.since, arguments.history) {
        (Some(since), _) => Start::from(since),
        (None, Some(count)) => Start::History(count),
        (None, None) => Start::Live,
    };
    let has_bars = !arguments.format.is_json() && !arguments.plain && bars::are_possible();
    let mut view: Box<dyn View> = if arguments.format.is_json() {
        Box::new(json::Json)
    } else if has_bars {
        Box::new(bars::Bars::new(url, arguments.logs))
    } else {
        Box::new(lines::Lines::new(url))
    };
    let watching = Watching {
        targets: arguments.targets,
        tree: arguments.tree || has_bars,
        start,
        until_end: arguments.until_end,
        timeout: arguments.timeout,
        must_exist: arguments.must_exist,
    };
    watching.follow(&arguments.server, view.as_mut()).await
}

/// Formats a percentage, without a fraction if it is whole.
pub(super) fn percent(percent: f64) -> String {
    format!("{} %", (percent * 10.0).round() / 10.0)
}
