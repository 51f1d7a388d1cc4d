//! What the server is told of the command, and what it asks of it.

use std::io;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};
use tidings_client::protocol::{
    Data, EventType, LogStream, NewEvent, Source, TaskError, TaskId, TaskStatus, Timestamp,
};
use tidings_client::{Client, Command, Commands, Ending, Task, Update};
use tokio::time::{Instant, MissedTickBehavior};

use super::backlog::Copied;
use super::child::Running;
use super::descendants::Processes;
use super::narrate::{Moment, Narrator};
use super::pump::Copies;
use super::screen::Size;
use super::terminal;

/// Lines are gathered for so long: ten events a second are as good as a thousand.
const GATHER: Duration = Duration::from_millis(100);

/// Events that may wait in the client. What is beyond waits as bytes, where the
/// newest are kept.
const AHEAD: usize = 64;

/// Bytes of output that are looked at between two ticks: 10 MB a second. A command that
/// writes faster is to have the processor for itself; of its output the end is kept.
const BUDGET: usize = 1024 * 1024;

/// What the bus cannot tell from silence is said again in this part of a lease.
const RENEWALS: u32 = 3;

/// Processes that were killed have so long to be gone.
const STUBBORN: Duration = Duration::from_secs(10);

/// The code of the error with which a bus ends a task of which it hears nothing.
const LOST: &str = "lost";

/// An event that says nothing but that the command runs.
const ALIVE: &str = "run.alive";

/// What a task is begun with, each time.
pub(super) struct Beginning {
    pub(super) task: TaskId,
    pub(super) name: String,
    pub(super) lease: Duration,
    pub(super) parent: Option<TaskId>,
    pub(super) source: Option<Source>,
}

impl Beginning {
    /// Begins a run of the task.
    pub(super) fn begin(&self, client: &Client) -> Task {
        let mut task = client
            .task(self.task.clone())
            .name(self.name.clone())
            .lease(self.lease);
        if let Some(source) = self.source.clone() {
            task = task.source(source);
        }
        if let Some(parent) = self.parent.clone() {
            task = task.parent(parent);
        }
        task.start_now()
    }
}

pub(super) struct Settings {
    pub(super) beginning: Beginning,
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

pub(super) struct Reporter {
    client: Client,
    settings: Settings,
    processes: Processes,
    narrator: Narrator,
    /// When something was published last.
    spoke: Instant,
    cancelled: Option<Cancelled>,
    /// Processes that a cancel could not end.
    left: usize,
    /// Bytes of output that may be looked at before the next tick.
    budget: usize,
}

/// How a command has ended.
pub(super) struct Ended {
    pub(super) status: io::Result<ExitStatus>,
    /// The stream of ours that could not be written.
    pub(super) unwritten: Option<(LogStream, io::Error)>,
    /// The task's end on its way, which tells what went wrong with reporting.
    pub(super) reported: Ending,
    /// Processes that a cancel could not end.
    pub(super) left: usize,
}

/// Somebody wants the command to end.
struct Cancelled {
    command: Command,
    by: String,
    /// When it is ended by force.
    force_at: Instant,
    forced: bool,
}

impl Reporter {
    pub(super) fn new(
        client: Client,
        settings: Settings,
        processes: Processes,
        narrator: Narrator,
    ) -> Self {
        Self {
            client,
            settings,
            processes,
            narrator,
            spoke: Instant::now(),
            cancelled: None,
            left: 0,
            budget: BUDGET,
        }
    }

    /// Reports until the command has ended and all is told.
    pub(super) async fn run(
        mut self,
        mut task: Task,
        mut running: Running,
        copies: &Copies,
    ) -> Ended {
        let mut commands = task.commands();
        let mut watch = self.client.watch(&self.settings.beginning.task);
        let mut watching = true;
        // An earlier run of the task may have been lost as well.
        let mut is_running = false;
        let mut gather = tokio::time::interval(GATHER);
        gather.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listening = true;
        let status = loop {
            tokio::select! {
                status = running.ended() => break status,
                copied = copies.next(), if self.has_budget() => self.take(&copied, &task),
                _ = gather.tick() => {
                    self.budget = BUDGET;
                    self.narrator.resize(terminal::size().unwrap_or(Size::USUAL));
                    self.tick(&task);
                    self.force();
                    self.processes.reap();
                }
                command = next(&mut commands, listening) => match command {
                    Some(command) => self.obey(command),
                    None => listening = false,
                },
                update = watch.recv(), if watching => match update {
                    Ok(Some(update)) if is_running && is_lost(&update) => {
                        // We were asleep or cut off, and the command goes on: as a new
                        // run. The old one cannot end a second time.
                        task = self.settings.beginning.begin(&self.client);
                        commands = task.commands();
                        (listening, is_running) = (true, false);
                    }
                    Ok(Some(update)) => is_running |= has_started(&update),
                    _ => watching = false,
                },
            }
        };
        // What the command has started ends with it only if it was cancelled.
        while self.cancelled.is_some() && self.processes.count() > 0 {
            tokio::select! {
                copied = copies.next(), if self.has_room() => self.take(&copied, &task),
                _ = gather.tick() => {
                    self.tick(&task);
                    self.force();
                }
            }
            if self.is_given_up() {
                break;
            }
        }
        let mut drained = std::pin::pin!(running.drained());
        let unwritten = loop {
            tokio::select! {
                biased;
                unwritten = &mut drained => break unwritten,
                copied = copies.next(), if self.has_room() => self.take(&copied, &task),
                _ = gather.tick() => self.tick(&task),
            }
        };
        // The client keeps these until they are sent, or --linger is over.
        while let Some(copied) = copies.try_next() {
            self.take(&copied, &task);
        }
        let reported = self.end(task, &status, unwritten.as_ref());
        Ended {
            status,
            unwritten,
            reported,
            left: self.left,
        }
    }

    fn has_room(&self) -> bool {
        self.client.pending() < AHEAD
    }

    fn has_budget(&self) -> bool {
        self.budget > 0 && self.has_room()
    }

    fn publish(&mut self, task: &Task, event: NewEvent) {
        self.spoke = Instant::now();
        task.publish(event);
    }

    fn take(&mut self, copied: &Copied, task: &Task) {
        if let Copied::Output(_, bytes) = copied {
            self.budget = self.budget.saturating_sub(bytes.len());
        }
        for event in self.narrator.take(copied, moment()) {
            self.publish(task, event);
        }
    }

    fn tick(&mut self, task: &Task) {
        if !self.has_room() {
            return;
        }
        for event in self.narrator.tick(moment()) {
            self.publish(task, event);
        }
        if self.spoke.elapsed() >= self.settings.beginning.lease / RENEWALS {
            let event = self.narrator.again().unwrap_or_else(alive);
            self.publish(task, event);
        }
    }

    fn obey(&mut self, mut command: Command) {
        let answer = match command.name() {
            "cancel" if self.cancelled.is_some() => command.reject("it is being cancelled already"),
            "cancel" => {
                let accepted = command.accept();
                let grace = command.args().and_then(|args| {
                    let ms = args.to_value().get("grace_ms")?.as_u64()?;
                    Some(Duration::from_millis(ms))
                });
                // A command that is paused would not notice.
                self.processes.signal_all(Signal::TERM);
                self.processes.signal_all(Signal::CONT);
                self.cancelled = Some(Cancelled {
                    by: command.by().to_owned(),
                    force_at: Instant::now() + grace.unwrap_or(self.settings.grace),
                    forced: false,
                    command,
                });
                accepted
            }
            "pause" => {
                self.processes.signal_all(Signal::STOP);
                command.complete(None)
            }
            "resume" => {
                self.processes.signal_all(Signal::CONT);
                command.complete(None)
            }
            other => {
                let reason =
                    format!("a command that is run knows cancel, pause and resume, not {other}");
                command.reject(reason)
            }
        };
        drop(answer);
    }

    /// Ends by force what had its time to end by itself, and what appears afterwards.
    fn force(&mut self) {
        if let Some(cancelled) = &mut self.cancelled
            && Instant::now() >= cancelled.force_at
        {
            cancelled.forced = true;
            self.processes.signal_all(Signal::KILL);
        }
    }

    /// Returns whether processes of the command live although they were killed: the
    /// system holds them, or they belong to somebody else.
    fn is_given_up(&mut self) -> bool {
        let Some(cancelled) = &self.cancelled else {
            return false;
        };
        let given_up = cancelled.forced && Instant::now() >= cancelled.force_at + STUBBORN;
        if given_up {
            self.left = self.processes.count();
        }
        given_up
    }

    /// Tells how it ended.
    fn end(
        &mut self,
        task: Task,
        status: &io::Result<ExitStatus>,
        unwritten: Option<&(LogStream, io::Error)>,
    ) -> Ending {
        for event in self.narrator.finish(moment()) {
            self.publish(&task, event);
        }
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
            let forced = json!({ "forced": cancelled.forced });
            drop(cancelled.command.complete(forced));
        }
        task.end(event)
    }
}

/// Returns whether the task runs now.
fn has_started(update: &Update) -> bool {
    match update {
        Update::Event(event) => event.event_type == EventType::TaskStarted,
        _ => {
            let state = update.snapshot();
            state.is_some_and(|state| state.status == TaskStatus::Running)
        }
    }
}

/// Returns whether the bus has given the task up, because it heard nothing of it for
/// so long.
fn is_lost(update: &Update) -> bool {
    match update {
        Update::Event(event) if event.event_type == EventType::TaskFailed => {
            event
                .data
                .get()
                .get("error")
                .and_then(|error| error.get("code"))
                == Some(&Value::from(LOST))
        }
        _ => update.snapshot().is_some_and(|state| {
            let code = state.error.as_ref().and_then(|error| error.code.as_deref());
            state.status == TaskStatus::Failed && code == Some(LOST)
        }),
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

fn moment() -> Moment {
    Moment {
        now: Instant::now(),
        wall: Timestamp::from(SystemTime::now()),
    }
}

fn alive() -> NewEvent {
    let event_type = ALIVE.parse().expect("a literal of the alphabet");
    NewEvent::new(event_type, Data::empty())
}
