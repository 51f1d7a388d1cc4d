//! `tidings run`: runs a command as a task, and stays out of its way.
//!
//! The command's bytes go through untouched, by threads that wait for nobody
//! else. What is reported of them is a copy, and it is the copy that gives way
//! when the server is slow or away.

mod backlog;
mod child;
mod forward;
mod lines;
mod progress;
mod pump;
mod report;
mod terminal;

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use tidings_client::protocol::{Source, TaskId};
use tidings_client::{ClientConfig, Ended, PublishError, Stopped, WhenFull};

use crate::Failure;
use crate::connect::Server;
use crate::output::say;
use crate::value;
use child::{PtyWanted, Running};
use pump::Copies;
use report::{Reporter, Settings};

const EXAMPLES: &str = "\
Examples:
  tidings run -- make -j8
  tidings run --task build-1 -- cargo build
  tidings run --task backup --name 'Nightly backup' -- rsync -a --info=progress2 a/ b/
  tidings command build-1 cancel          from elsewhere: ends it
  tidings command build-1 pause           and resume

The command's output, input, signals and exit status are as without `tidings run`.
Its lines become the task's log; a percentage that cargo, ninja, CMake, pip, ffmpeg,
rsync, curl or another tool shows becomes its progress. Tools show one only in a
terminal as a rule: where this is run in one, so is the command; --pty always gives
it one in any case.

Whether or not the server is there makes no difference to the command. What cannot
be sent is kept, 8,192 events or 8 MiB of them; past that log lines and progress go,
the oldest first. When the command is over, --linger is waited for the rest.

`cancel` sends SIGTERM to the command and all that it has started, and SIGKILL after
--grace. Exit codes: the command's own; 128 and the signal's number if a signal ended
it; 126 and 127 if it cannot be run or found; 64 wrong usage.";

/// Run a command as a task: its output, progress and outcome can be watched
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The task's id [default: made of the command's name]
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,

    /// What to call the task [default: the command]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Whether the command gets a terminal of its own: if there is one, always
    /// or never
    #[arg(long, value_enum, default_value_t = PtyWanted::Auto)]
    pty: PtyWanted,

    /// After `cancel`, how long the command has to end by itself [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = value::time::<0>)]
    grace: Option<Duration>,

    /// When the command has ended, how long to wait for a server that is away
    /// [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = value::time::<0>)]
    linger: Option<Duration>,

    /// Say nothing of one's own on standard error
    #[arg(long, short)]
    quiet: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const GRACE: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(5);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let linger = arguments.linger.unwrap_or(LINGER);
    let task = arguments
        .task
        .clone()
        .unwrap_or_else(|| made_up(&arguments.command));
    let client = arguments
        .server
        .builder()?
        .config(ClientConfig::default().when_full(WhenFull::DropOldest))
        .build()?;
    let copies = Copies::new();
    let running = Running::start(&arguments.command, arguments.pty, copies.clone());
    let running = running.map_err(|cause| Failure::Spawn {
        program: arguments.command[0].to_string_lossy().into_owned(),
        cause,
    })?;
    if !arguments.quiet && arguments.task.is_none() {
        say(&format!("this is task {task}"));
    }
    let settings = Settings {
        task,
        name: arguments.name.unwrap_or_else(|| shown(&arguments.command)),
        grace: arguments.grace.unwrap_or(GRACE),
        source: Source::new(format!("pid {}", running.group())).ok(),
    };
    let reporter = Reporter::new(client.clone(), settings, running.group());
    let ended = reporter.run(running, &copies).await;
    let status = ended.status.map_err(Failure::System)?;
    let left = client.close(linger).await;
    if !arguments.quiet {
        if let Some(problem) = problem(ended.reported.await) {
            say(&problem);
        }
        if left > 0 {
            let url = &arguments.server.url;
            say(&format!("{left} events could not be sent: {url} is away"));
        }
    }
    let code = code(status);
    match ended.unwritten {
        Some((stream, cause)) => {
            let failure = Failure::Unwritten { stream, cause };
            let told = failure.report();
            // The command's own failure says more.
            Ok(if code == 0 {
                told
            } else {
                ExitCode::from(code)
            })
        }
        None => Ok(ExitCode::from(code)),
    }
}

/// Says what went wrong with reporting, if anything did.
fn problem(ended: Result<Ended, PublishError>) -> Option<String> {
    match ended {
        Ok(ended) => {
            let first = ended.losses.refused.first()?;
            let cause = crate::chain(&first.error);
            let count = ended.losses.refused_count;
            Some(format!(
                "{count} events were refused, the first of them: {cause}"
            ))
        }
        // Told by the count of what could not be sent.
        Err(PublishError::Stopped(Stopped::Closed)) => None,
        Err(error) => Some(crate::chain(&error)),
    }
}

/// The code that a shell would give.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// `run-cargo-1f3a9c`: characters that an id may have, and enough of chance
/// that two runs differ.
fn made_up(command: &[OsString]) -> TaskId {
    let program = std::path::Path::new(&command[0]).file_name();
    let program = program.map(|name| name.to_string_lossy().into_owned());
    let program: String = program
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .take(40)
        .collect();
    let chance = fastrand::u32(..) & 0xff_ffff;
    TaskId::new(format!("run-{program}-{chance:06x}")).expect("characters of the alphabet")
}

/// The command as it may be shown: not the whole of a very long one.
fn shown(command: &[OsString]) -> String {
    const MAX: usize = 200;
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    let text = lines::plain(&words.join(" "));
    match text.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_task_is_named_after_the_program() {
        for (program, start) in [("/usr/bin/cargo", "run-cargo-"), ("./x y/ü!", "run--")] {
            let task = made_up(&[program.into()]);
            assert!(task.as_str().starts_with(start), "{task}");
        }
    }
}
