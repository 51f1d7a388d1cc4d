//! `tidings run`: runs a command as a task without disturbing it.
//!
//! Threads of their own pass the command's bytes through unchanged. Reports to the
//! server use a copy of the bytes. If the server is slow or away, the copy loses bytes,
//! and the output does not.

mod backlog;
mod child;
pub(crate) mod death;
mod descendants;
mod forward;
mod keys;
pub(crate) mod lead;
mod narrate;
pub(crate) mod pass_on;
mod progress;
mod pump;
#[cfg(test)]
mod recordings;
mod report;
mod screen;
mod terminal;
mod this_program;

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use tidings_client::protocol::{EventType, Source, TaskError, TaskId, TaskStatus};
use tidings_client::{
    Client, ClientConfig, Ended, ReceiptError, Status, Stopped, Update, WhenFull,
};

use crate::connect::Server;
use crate::output::say;
use crate::value;
use crate::{Failure, RUN_VARIABLE, TASK_VARIABLE};
use child::{PtyWanted, Running};
use forward::Caught;
use narrate::Narrator;
use progress::Pattern;
use pump::Copies;
use report::{Beginning, Reporter, Settings};
use screen::Size;

const EXAMPLES: &str = "\
Examples:
  tidings run make -j8
  tidings run --task build-1 -- cargo build
  tidings run --task backup --name 'Nightly backup' -- rsync -a --info=progress2 a/ b/
  tidings run --progress 'step (\\d+) of (\\d+)' -- ./deploy
  tidings command build-1 cancel          from elsewhere: ends it
  tidings command build-1 pause           and resume

Options of `tidings run` come before the command. The command's output, input, signals
and exit status are the same as without `tidings run`. The lines that it prints become the log of the task. Its progress is read
from what cargo, ninja, CMake, pip, ffmpeg, rsync, curl and many other tools show, and
from OSC 9;4. Text that a tool overwrites is progress, not a line of the log. Most tools
show progress only in a terminal: use --pty always where there is none.

The command finds its task in TIDINGS_TASK, the run in TIDINGS_RUN and the server in
TIDINGS_URL. So a script needs only `tidings publish progress=40`, and a `tidings run`
in the script becomes a child of this task.

`tidings run` ends with the command. Processes that the command leaves behind can write
on; their later output is not in the log. An output that is closed (>&-) counts as
/dev/null.

A server that is away or slow never holds up the command. Of output that cannot be sent
the newest 4 MiB are kept, or 1 MiB while the command writes more than 50 MB a second.
The log says what is missing.

`cancel` sends SIGTERM to the command and to every process that it has started, and
SIGKILL after --grace. On systems other than Linux, processes that have left the
command's process group are not found.

Exit codes: the command's own, or its signal (128 + n in a shell for signal n); 126 it cannot be run; 127
it is not found; 64 wrong usage; 74 the command succeeded but its output could not be
written.";

/// Run a command as a task: its output, progress and outcome can be watched
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The task's id [default: made of the command's name]
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,

    /// The name that people see [default: the command]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// When to give the command a terminal for its output
    #[arg(long, value_enum, default_value_t = PtyWanted::Auto)]
    pty: PtyWanted,

    /// After `cancel`, how long the command has to end before it is killed [default:
    /// 10s]
    #[arg(long, value_name = "TIME", value_parser = value::time::<0>)]
    grace: Option<Duration>,

    /// When the command has ended, how long to wait for the server to take the rest
    /// [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = value::time::<0>)]
    linger: Option<Duration>,

    /// How soon watchers learn that `tidings run` itself was killed: after this time the
    /// task is stalled, and after twice this time it has failed as lost [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = value::time::<100>)]
    lease: Option<Duration>,

    /// How to read progress from the output: a regular expression with one group for a
    /// percentage, or two for the current number and the total
    #[arg(long, value_name = "REGEX")]
    progress: Option<Pattern>,

    /// Print no messages of `tidings run` itself
    #[arg(long, short)]
    quiet: bool,

    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The longest time that the start of the command waits for the server.
const START: Duration = Duration::from_millis(250);

/// The time that the report gets if the command cannot be started. It does not justify
/// a longer wait.
const NOT_RUN_LINGER: Duration = Duration::from_millis(500);

/// The limit of events that wait in the client after the command's end. All retained
/// output fits, escaped as JSON.
const MAX_PENDING: usize = 8_192;
const MAX_PENDING_BYTES: usize = 16 * 1024 * 1024;

/// The longest name of a task, in characters. An event with a much longer one is refused.
const MAX_NAME: usize = 1_000;

/// The number of files that this program may have to open. With less room, the command would
/// start, and its output could not be passed on.
const FILES: usize = 40;

const GRACE: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_secs(120);
const LINGER: Duration = Duration::from_secs(5);

pub(super) fn start(arguments: Arguments) -> Result<ExitCode, Failure> {
    if let Err(cause) = try_files() {
        if !arguments.quiet {
            let cause = crate::chain(&cause);
            say(&format!("the command runs without a task: {cause}"));
        }
        let (program, words) = (&arguments.command[0], &arguments.command[1..]);
        let cause = Command::new(program).args(words).exec();
        return Err(not_run(program, cause));
    }
    crate::block_on(run(arguments))
}

/// Returns an error if the system does not let this program open enough files.
fn try_files() -> io::Result<()> {
    let file = File::open("/dev/null")?;
    let all = (0..FILES).map(|_| file.try_clone());
    all.collect::<io::Result<Vec<_>>>()?;
    Ok(())
}

/// Returns the error for a command that cannot be started.
fn not_run(program: &OsStr, cause: io::Error) -> Failure {
    let is_path = program.as_encoded_bytes().contains(&b'/');
    let cause = match cause.kind() {
        io::ErrorKind::NotFound if !is_path => io::Error::new(cause.kind(), "command not found"),
        _ => cause,
    };
    let program = quoted(program).into_owned();
    Failure::Spawn { program, cause }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let linger = arguments.linger.unwrap_or(LINGER);
    let task = arguments
        .task
        .clone()
        .unwrap_or_else(|| made_up(&arguments.command));
    // On other systems, the ignored signals are not known. If this program caught a
    // signal before the command starts, the command would no longer ignore it.
    let caught = cfg!(target_os = "linux").then(Caught::new).transpose();
    let caught = caught.map_err(Failure::System)?;
    let config = ClientConfig::default()
        .when_full(WhenFull::DropOldest)
        .pending(MAX_PENDING, MAX_PENDING_BYTES);
    let client = arguments.server.builder()?.config(config).build()?;
    if !arguments.quiet && arguments.task.is_none() {
        say(&format!("this is task {task}"));
    }
    let beginning = Beginning {
        task: task.clone(),
        name: match arguments.name {
            Some(name) => cut(name, MAX_NAME),
            None => shown(&arguments.command),
        },
        lease: arguments.lease.unwrap_or(LEASE),
        parent: parent(&arguments.server.url, &task),
        source: Source::new(format!("pid {}", std::process::id())).ok(),
    };
    let begun = beginning.begin(&client);
    let mut variables = arguments.server.variables();
    variables.push((TASK_VARIABLE, task.to_string()));
    if let Some(run) = opened(&client, &task).await {
        variables.push((RUN_VARIABLE, run.to_string()));
    }
    descendants::adopt().map_err(Failure::System)?;
    let copies = Copies::new();
    let running = Running::start(
        &arguments.command,
        &variables,
        arguments.pty,
        copies.clone(),
        caught,
    );
    let running = match running {
        Ok(running) => running,
        Err(cause) => {
            let failure = not_run(&arguments.command[0], cause);
            let error = TaskError::new(crate::chain(&failure)).with_code("not_run");
            drop(begun.fail(error));
            client.close(linger.min(NOT_RUN_LINGER)).await;
            return Err(failure);
        }
    };
    let settings = Settings {
        beginning,
        grace: arguments.grace.unwrap_or(GRACE),
    };
    let size = terminal::size().unwrap_or(Size::USUAL);
    let narrator = Narrator::new(size, arguments.progress);
    let reporter = Reporter::new(client.clone(), settings, running.processes(), narrator);
    let ended = reporter.run(begun, running, &copies).await;
    let status = ended.status.map_err(Failure::System)?;
    let left = tokio::select! {
        left = client.clone().close(linger) => left,
        () = forward::interrupted() => client.pending(),
    };
    if !arguments.quiet {
        if let Some(problem) = problem(ended.reported.await) {
            say(&problem);
        }
        if ended.left > 0 {
            let left = ended.left;
            say(&format!(
                "{left} processes of the command could not be ended"
            ));
        }
        if left > 0 {
            let url = &arguments.server.url;
            say(&format!("{left} events could not be sent to {url}"));
        }
    }
    let code = code(status);
    match ended.unwritten {
        Some((stream, cause)) => {
            let failure = Failure::Unwritten { stream, cause };
            let told = failure.report();
            // The command's own failure is more important.
            Ok(if code == 0 {
                told
            } else {
                ExitCode::from(code)
            })
        }
        None => {
            if let Some(signal) = status.signal() {
                death::die(signal);
            }
            Ok(ExitCode::from(code))
        }
    }
}

/// Returns a message if reporting has failed.
fn problem(ended: Result<Ended, ReceiptError>) -> Option<String> {
    match ended {
        Ok(ended) => {
            let first = ended.losses.refused.first()?;
            let cause = crate::chain(&first.error);
            let count = ended.losses.refused_count;
            Some(format!(
                "{count} events were refused, the first of them: {cause}"
            ))
        }
        // The number of unsent events already reports this.
        Err(ReceiptError::Stopped(Stopped::Closed)) => None,
        Err(error) => Some(crate::chain(&error)),
    }
}

/// Waits until the server has the task, and returns the run that it opened. Returns
/// `None` if the server is away or slow, because the command does not wait for it.
async fn opened(client: &Client, task: &TaskId) -> Option<u32> {
    let mut watch = client.watch(task);
    let mut status = client.watch_status();
    let run = async {
        let mut last = 0;
        while let Ok(Some(update)) = watch.recv().await {
            match update {
                Update::Snapshot(state) if state.status == TaskStatus::Running => {
                    return Some(state.run);
                }
                Update::Snapshot(state) => last = state.run,
                Update::Event(event) if event.event_type == EventType::TaskStarted => {
                    return Some(last + 1);
                }
                _ => {}
            }
        }
        None
    };
    let away = status.wait_for(|status| matches!(status, Status::Waiting(_) | Status::Stopped(_)));
    tokio::select! {
        run = tokio::time::timeout(START, run) => run.ok().flatten(),
        _ = away => None,
    }
}

/// Returns the parent task: the `tidings run` that has started this one, on the same
/// server.
fn parent(url: &str, task: &TaskId) -> Option<TaskId> {
    let parent: TaskId = std::env::var(TASK_VARIABLE).ok()?.parse().ok()?;
    let same_server = std::env::var("TIDINGS_URL").is_ok_and(|known| known == url);
    (same_server && parent != *task).then_some(parent)
}

/// Returns the exit code that a shell would return.
fn code(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    let code = status.code().or(signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Makes up an id such as `run-cargo-1f3a9c`. It only has valid characters, and its
/// random part makes two runs differ.
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

/// Returns the command for display. A very long command is cut.
fn shown(command: &[OsString]) -> String {
    const MAX: usize = 200;
    let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
    cut(crate::clean(&words.join(" ")).into_owned(), MAX)
}

/// Returns a word of the command for display. An empty word would not be visible.
fn quoted(word: &OsStr) -> Cow<'_, str> {
    match word.is_empty() {
        true => "''".into(),
        false => word.to_string_lossy(),
    }
}

/// Cuts a text to this number of characters.
fn cut(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_between_characters() {
        assert_eq!(cut("aé".to_owned(), 2), "aé");
        assert_eq!(cut("aéb".to_owned(), 2), "aé…");
    }

    #[test]
    fn a_made_up_task_is_named_after_the_program() {
        for (program, start) in [("/usr/bin/cargo", "run-cargo-"), ("./x y/ü!", "run--")] {
            let task = made_up(&[program.into()]);
            assert!(task.as_str().starts_with(start), "{task}");
        }
    }
}
