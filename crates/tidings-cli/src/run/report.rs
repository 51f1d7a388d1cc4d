//! What the server is told of the command, and what it asks of it.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::json;
use tidings_client::protocol::{Data, EventType, LogStream, NewEvent, Source, TaskError, TaskId};
use tidings_client::{Client, Command, Commands, Ending, PublishError, Task};
use tokio::time::Instant;

use super::backlog::Copied;
use super::child::Running;
use super::forward::send;
use super::lines::{Line, Splitter};
use super::progress::{Reading, Recogniser};
use super::pump::Copies;

/// Lines are gathered for so long: ten events a second are as good as a thousand.
const GATHER: Duration = Duration::from_millis(100);

/// Bytes of lines in one event, well below what a message may have.
const MAX_LOG: usize = 16 * 1024;

pub(super) struct Settings {
    pub(super) task: TaskId,
    pub(super) name: String,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
    pub(super) source: Option<Source>,
}

pub(super) struct Reporter {
    client: Client,
    settings: Settings,
    group: Pid,
    gathered: [(LogStream, Splitter, String); 2],
    recogniser: Recogniser,
    reading: Option<Reading>,
    told: Option<Reading>,
    cancelled: Option<Cancelled>,
}

/// How a command has ended.
pub(super) struct Ended {
    pub(super) status: io::Result<ExitStatus>,
    /// The stream of ours that could not be written.
    pub(super) unwritten: Option<(LogStream, io::Error)>,
    /// The task's end on its way, which tells what went wrong with reporting.
    pub(super) reported: Ending,
}

/// Somebody wants the command to end.
struct Cancelled {
    command: Command,
    by: String,
    /// When it is ended by force; none: it was.
    force: Option<Instant>,
}

impl Reporter {
    pub(super) fn new(client: Client, settings: Settings, group: Pid) -> Self {
        let gather = |stream| (stream, Splitter::default(), String::new());
        Self {
            client,
            settings,
            group,
            gathered: [gather(LogStream::Stdout), gather(LogStream::Stderr)],
            recogniser: Recogniser::default(),
            reading: None,
            told: None,
            cancelled: None,
        }
    }

    /// Reports until the command has ended and all is told.
    pub(super) async fn run(mut self, mut running: Running, copies: &Copies) -> Ended {
        let task = self.start();
        let mut commands = task.commands();
        let mut gather = tokio::time::interval(GATHER);
        let mut listening = true;
        let status = loop {
            tokio::select! {
                status = running.ended() => break status,
                copied = copies.next() => self.take(&copied, &task),
                _ = gather.tick() => {
                    self.flush(&task);
                    self.force();
                }
                command = next(&mut commands, listening) => match command {
                    Some(command) => self.obey(command),
                    None => listening = false,
                },
            }
        };
        let mut drained = std::pin::pin!(running.drained());
        let unwritten = loop {
            tokio::select! {
                biased;
                unwritten = &mut drained => break unwritten,
                copied = copies.next() => self.take(&copied, &task),
            }
        };
        while let Some(copied) = copies.try_next() {
            self.take(&copied, &task);
        }
        let reported = self.end(task, &status, unwritten.as_ref());
        Ended {
            status,
            unwritten,
            reported,
        }
    }

    fn start(&self) -> Task {
        let mut task = self
            .client
            .task(self.settings.task.clone())
            .name(self.settings.name.clone());
        if let Some(source) = self.settings.source.clone() {
            task = task.source(source);
        }
        task.start_now()
    }

    fn take(&mut self, copied: &Copied, task: &Task) {
        let (stream, bytes) = match copied {
            Copied::Output(stream, bytes) => (*stream, bytes),
            Copied::Missing(stream, bytes) => {
                let text =
                    format!("[{bytes} bytes of output are missing here: they came too fast]");
                return task.publish(log(&text, *stream));
            }
        };
        let at = usize::from(stream == LogStream::Stderr);
        let lines = self.gathered[at].1.take(bytes);
        for line in lines {
            self.line(at, &line);
            if self.gathered[at].2.len() >= MAX_LOG {
                self.flush(task);
            }
        }
        if let Some(line) = self.gathered[at].1.unfinished() {
            self.read(&line);
        }
    }

    fn line(&mut self, at: usize, line: &Line) {
        self.read(line);
        if !line.transient {
            let text = &mut self.gathered[at].2;
            text.push_str(&line.text);
            text.push('\n');
        }
    }

    fn read(&mut self, line: &Line) {
        if let Some(reading) = self.recogniser.read(&line.text, line.transient) {
            self.reading = Some(reading);
        }
    }

    /// Publishes what was gathered.
    fn flush(&mut self, task: &Task) {
        for at in 0..self.gathered.len() {
            let text = std::mem::take(&mut self.gathered[at].2);
            if !text.is_empty() {
                let event = log(text.trim_end_matches('\n'), self.gathered[at].0);
                task.publish(event);
            }
        }
        if let Some(reading) = self.reading.take()
            && self.told.as_ref() != Some(&reading)
        {
            let message = reading.message.as_deref();
            let event = match reading.count {
                Some((current, total)) => {
                    NewEvent::progress_of(f64::from(current), f64::from(total), message)
                }
                None => NewEvent::progress(reading.percent, message),
            };
            task.publish(event);
            self.told = Some(reading);
        }
    }

    fn obey(&mut self, mut command: Command) {
        let answer = match command.name() {
            "cancel" if self.cancelled.is_some() => {
                command.reject("it is being cancelled already").map(drop)
            }
            "cancel" => {
                let accepted = command.accept().map(drop);
                let grace = command.args().and_then(|args| {
                    let ms = args.to_value().get("grace_ms")?.as_u64()?;
                    Some(Duration::from_millis(ms))
                });
                // A command that is paused would not notice.
                send(self.group, Signal::TERM);
                send(self.group, Signal::CONT);
                self.cancelled = Some(Cancelled {
                    by: command.by().to_owned(),
                    force: Some(Instant::now() + grace.unwrap_or(self.settings.grace)),
                    command,
                });
                accepted
            }
            "pause" => {
                send(self.group, Signal::STOP);
                command.complete(None).map(drop)
            }
            "resume" => {
                send(self.group, Signal::CONT);
                command.complete(None).map(drop)
            }
            other => {
                let reason =
                    format!("a command that is run knows cancel, pause and resume, not {other}");
                command.reject(reason).map(drop)
            }
        };
        unanswered(answer);
    }

    /// Ends by force what had its time to end by itself.
    fn force(&mut self) {
        if let Some(cancelled) = &mut self.cancelled
            && cancelled.force.is_some_and(|at| Instant::now() >= at)
        {
            cancelled.force = None;
            send(self.group, Signal::KILL);
        }
    }

    /// Tells how it ended.
    fn end(
        &mut self,
        task: Task,
        status: &io::Result<ExitStatus>,
        unwritten: Option<&(LogStream, io::Error)>,
    ) -> Ending {
        for at in 0..self.gathered.len() {
            if let Some(line) = self.gathered[at].1.finish() {
                self.line(at, &line);
            }
        }
        self.flush(&task);
        let cancelled = self.cancelled.take();
        let event = match (&cancelled, status) {
            // The command succeeded, but its output is gone.
            (None, Ok(status))
                if status.success()
                    && let Some((_, cause)) = unwritten =>
            {
                let text = format!("the command's output cannot be written: {cause}");
                NewEvent::task_failed(TaskError::new(text).with_code("output_lost"))
            }
            (Some(cancelled), _) => {
                let reason = format!("cancelled by {}", cancelled.by);
                NewEvent::task_cancelled(reason.as_str())
            }
            (None, Ok(status)) if status.success() => {
                NewEvent::task_completed(json!({ "exit_code": 0 }))
            }
            (None, Ok(status)) => NewEvent::task_failed(error(*status)),
            (None, Err(cause)) => NewEvent::task_failed(TaskError::new(cause.to_string())),
        };
        if let Some(cancelled) = cancelled {
            let forced = cancelled.force.is_none();
            unanswered(
                cancelled
                    .command
                    .complete(json!({ "forced": forced }))
                    .map(drop),
            );
        }
        task.end(event)
    }
}

/// Notes an answer that could not be given: the task was never this program's, which
/// its end tells.
fn unanswered(answer: Result<(), PublishError>) {
    if let Err(error) = answer {
        tracing::debug!(%error, "a command could not be answered");
    }
}

async fn next(commands: &mut Commands, listening: bool) -> Option<Command> {
    if !listening {
        return std::future::pending().await;
    }
    commands.recv().await.ok().flatten()
}

fn error(status: ExitStatus) -> TaskError {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => TaskError::new(format!("the command exited with {code}"))
            .with_code(format!("exit_{code}")),
        (None, Some(signal)) => TaskError::new(format!("signal {signal} ended the command"))
            .with_code(format!("signal_{signal}")),
        (None, None) => TaskError::new("the command ended in an unknown way"),
    }
}

fn log(text: &str, stream: LogStream) -> NewEvent {
    let data = Data::from_value(json!({ "message": text, "stream": stream.as_str() }));
    NewEvent::new(EventType::Log, data.expect("an object of two texts"))
}
