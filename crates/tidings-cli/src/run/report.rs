//! Reports the command to the server, and carries out the task's commands.

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
use super::narrate::{self, Moment, Narrator};
use super::pass_on;
use super::pump::Copies;
use super::screen::Size;
use super::terminal;
use crate::output::say;

/// The time for which lines are gathered. For a reader, ten events a second are as good
/// as a thousand.
const GATHER: Duration = Duration::from_millis(100);

/// The number of events that may wait in the client. Further output waits as bytes, and
/// its newest part is kept.
const AHEAD: usize = 64;

/// The bytes of output processed between two ticks: 10 MB a second. A faster command
/// must have the processor for itself. Only the end of its output is kept.
const BUDGET: usize = 1024 * 1024;

/// The same limit while output is already being lost. A few samples are then enough.
const FLOODED: usize = 128 * 1024;

/// The number of repeated reports per lease. They show the bus that the task is alive.
const RENEWALS: u32 = 3;

/// The time that killed processes get to disappear.
const STUBBORN: Duration = Duration::from_secs(10);

/// The error code with which a bus ends a silent task.
const LOST: &str = "lost";

/// An event that only shows that the command runs.
const ALIVE: &str = "run.alive";

/// The settings with which each run of the task begins.
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
    /// The time between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
}

pub(super) struct Reporter {
    client: Client,
    settings: Settings,
    processes: Processes,
    narrator: Narrator,
    /// The time of the last publish.
    spoke: Instant,
    cancelled: Option<Cancelled>,
    /// The number of processes that a cancellation could not end.
    left: usize,
    /// The bytes of output that may be processed before the next tick.
    budget: usize,
}

/// The end of a command.
pub(super) struct Ended {
    pub(super) status: io::Result<ExitStatus>,
    /// The stream of this program that could not be written.
    pub(super) unwritten: Option<(LogStream, io::Error)>,
    /// The future end of the task, which also reports lost events.
    pub(super) reported: Ending,
    /// The number of processes that a cancellation could not end.
    pub(super) left: usize,
}

/// A request to end the command.
struct Cancelled {
    command: Command,
    by: String,
    /// The time at which the command is killed.
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

    /// Reports until the command has ended and its output is complete.
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
                        // This program was suspended or cut off, and the bus has failed
                        // the task as lost. Continue the command as a new run, because
                        // the old run cannot end a second time.
                        task = self.settings.beginning.begin(&self.client);
                        commands = task.commands();
                        (listening, is_running) = (true, false);
                    }
                    Ok(Some(update)) => is_running |= has_started(&update),
                    _ => watching = false,
                },
            }
        };
        // After a cancellation, wait for all processes that the command has started.
        // Otherwise, they may outlive the command.
        while self.cancelled.is_some() && (self.processes.count() > 0 || self.processes.is_led()) {
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
        let (rests, unwritten) = loop {
            tokio::select! {
                biased;
                drained = &mut drained => break drained,
                copied = copies.next(), if self.has_room() => self.take(&copied, &task),
                _ = gather.tick() => self.tick(&task),
            }
        };
        // The client keeps these events until they are sent or --linger has passed.
        while let Some(copied) = copies.try_next() {
            self.take(&copied, &task);
        }
        let mut last = self.narrator.finish(moment());
        for rest in rests {
            last.push(narrate::left_open(rest.stream));
            if let Err(cause) = pass_on::start(rest) {
                let cause = crate::chain(&cause);
                say(&format!(
                    "later output of processes that the command has left behind is lost: {cause}"
                ));
            }
        }
        for event in last {
            self.publish(&task, event);
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
        match copied {
            Copied::Output(_, bytes) => self.budget = self.budget.saturating_sub(bytes.len()),
            Copied::Missing(..) => self.budget = self.budget.min(FLOODED),
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
                // A paused command would not notice the signal.
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

    /// Kills the command's processes after their time to end has passed, and kills
    /// processes that appear later.
    fn force(&mut self) {
        if let Some(cancelled) = &mut self.cancelled
            && Instant::now() >= cancelled.force_at
        {
            cancelled.forced = true;
            self.processes.signal_all(Signal::KILL);
        }
    }

    /// Returns true if processes of the command live although they were killed. The
    /// system holds them, or they belong to another user.
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

    /// Reports the end of the task.
    fn end(
        &mut self,
        task: Task,
        status: &io::Result<ExitStatus>,
        unwritten: Option<&(LogStream, io::Error)>,
    ) -> Ending {
        let cancelled = self.cancelled.take();
        let event = match (&cancelled, status) {
            // The command succeeded, but its output is lost.
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

/// Returns true if the task is running after this update.
fn has_started(update: &Update) -> bool {
    match update {
        Update::Event(event) => event.event_type == EventType::TaskStarted,
        _ => {
            let state = update.snapshot();
            state.is_some_and(|state| state.status == TaskStatus::Running)
        }
    }
}

/// Returns true if the bus has failed the task because of its silence.
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
