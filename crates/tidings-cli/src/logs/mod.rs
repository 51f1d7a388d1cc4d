//! `tidings logs`: prints the output of a task from its whole history.

mod lines;

use std::collections::HashSet;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tidings_client::protocol::{
    Event, EventType, Gap, GapReason, Position, ResetReason, Since, TaskId, Timestamp,
};
use tidings_client::{Client, EventQuery, Start, Update};

use crate::connect::Server;
use crate::format::Format;
use crate::get::absent;
use crate::output::say;
use crate::text::clean_json;
use crate::watch::{missing, started_over};
use crate::{Failure, code, complete, print_bytes, value};
use lines::{Piece, Stream, Tail, Writer, pieces, types};

const EXAMPLES: &str = "\
Examples:
  tidings logs build-1                     all of it
  tidings logs build-1 -f                  and new lines, until the task has ended
  tidings logs build-1 --tail 20
  tidings logs build-1 --since 5m --timestamps
  tidings logs build-1 --stream stderr
  tidings logs build-1 -o json             the events

The lines of `log` events and the words of agents, as they were written, to standard
output. What the server no longer keeps is named on standard error. A mark (·) stands
for each character that a terminal would obey; --raw leaves them in.
Exit codes: 0 told; 4 with -f, the task was removed before its end; 66 there is no such
task (with -f it is waited for); 64 wrong usage; 69 no answer from the server in time;
74 the output cannot be written; 77 the token is missing or not enough.";

/// Print the output of a task
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The task
    #[arg(add = complete::tasks())]
    task: TaskId,

    /// Print new lines as they come, until the task has ended
    #[arg(long, short)]
    follow: bool,

    /// Print only this many lines, the last ones
    #[arg(long, value_name = "COUNT", value_parser = value::count::<0>)]
    tail: Option<u64>,

    /// Print only lines that are newer: than 5m or 1h, or than 2026-11-23T04:45:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,

    /// Begin each line with the time when it was written
    #[arg(long)]
    timestamps: bool,

    /// Print only this stream; may be given several times
    #[arg(long, value_enum, value_name = "STREAM")]
    stream: Vec<Stream>,

    /// Print control characters as they are
    #[arg(long)]
    raw: bool,

    #[command(flatten)]
    format: Format,
}

/// The time limit for one page of the history.
const TIMEOUT: Duration = Duration::from_secs(30);

fn moment(text: &str) -> Result<Timestamp, String> {
    let at = match value::time::<0>(text) {
        Ok(ago) => SystemTime::now()
            .checked_sub(ago)
            .unwrap_or(SystemTime::UNIX_EPOCH),
        Err(_) => humantime::parse_rfc3339_weak(text).map_err(|_| {
            "expected a time such as 5m or 1h, or a moment such as 2026-11-23T04:45:00Z".to_owned()
        })?,
    };
    Ok(Timestamp::from(at))
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = arguments.server.client()?;
    let json = arguments.format.is_json();
    let mut logs = Logs {
        chosen: arguments.stream.iter().copied().collect(),
        since: arguments.since,
        writer: Writer::new(arguments.timestamps && !json, arguments.raw || json),
        tail: arguments.tail.map(|most| Tail::new(value::to_usize(most))),
        json,
        client,
        arguments,
    };
    let read = logs.history(Since::Start, None).await;
    logs.end_tail()?;
    let followed = match read {
        Ok(head) if logs.arguments.follow => logs.follow(Some(head)).await,
        Ok(_) => Ok(0),
        Err(Failure::NoTask { .. }) if logs.arguments.follow => logs.follow(None).await,
        Err(failure) => Err(failure),
    };
    let ended = print_bytes(logs.writer.end().as_bytes());
    let code = followed?;
    ended?;
    Ok(ExitCode::from(code))
}

struct Logs {
    client: Client,
    arguments: Arguments,
    /// The streams to print. An empty set stands for all.
    chosen: HashSet<Stream>,
    since: Option<Timestamp>,
    writer: Writer,
    /// Collects the last lines while the history is read.
    tail: Option<Tail>,
    json: bool,
}

impl Logs {
    /// Prints the history after a place, page by page, up to this offset or to the head of the log.
    /// Returns the position to continue from.
    async fn history(&mut self, since: Since, to: Option<u64>) -> Result<Position, Failure> {
        let mut query = EventQuery::default();
        query.since = Some(since);
        query.types = types();
        loop {
            let asked = self.client.history(&self.arguments.task, &query);
            let page = self.arguments.server.within(TIMEOUT, asked).await?;
            let page = page.map_err(|error| absent(error, &self.arguments.task))?;
            if let Some(gap) = page.gap {
                self.miss(&gap);
            }
            for event in &page.events {
                if to.is_none_or(|to| event.offset.get() <= to) {
                    self.event(event)?;
                }
            }
            let next = Since::from(page.next.clone());
            let is_past = to.is_some_and(|to| page.next.offset.get() >= to);
            if is_past || (page.events.is_empty() && query.since.as_ref() == Some(&next)) {
                return Ok(page.next);
            }
            query.since = Some(next);
        }
    }

    fn miss(&self, gap: &Gap) {
        say(&missing(gap));
    }

    fn event(&mut self, event: &Event) -> Result<(), Failure> {
        let is_old = |time: Timestamp| self.since.is_some_and(|since| time < since);
        let mut kept = pieces(event);
        kept.retain(|piece| {
            let is_chosen = self.chosen.is_empty() || self.chosen.contains(&piece.stream);
            is_chosen && !is_old(piece.time)
        });
        if self.json {
            kept.truncate(1);
            for piece in &mut kept {
                let json = serde_json::to_string(event).unwrap_or_default();
                (piece.text, piece.ends) = (clean_json(&json).into_owned(), true);
            }
        }
        match &mut self.tail {
            Some(tail) => kept.into_iter().for_each(|piece| tail.push(piece)),
            None => self.write(kept.iter())?,
        }
        Ok(())
    }

    fn write<'a>(&mut self, pieces: impl Iterator<Item = &'a Piece>) -> Result<(), Failure> {
        let text: String = pieces.map(|piece| self.writer.write(piece)).collect();
        if text.is_empty() {
            return Ok(());
        }
        print_bytes(text.as_bytes())
    }

    /// Prints the collected last lines.
    fn end_tail(&mut self) -> Result<(), Failure> {
        match self.tail.take() {
            Some(tail) => self.write(tail.pieces()),
            None => Ok(()),
        }
    }

    /// Prints new lines until the task has ended or was removed. Returns the exit code.
    async fn follow(&mut self, from: Option<Position>) -> Result<u8, Failure> {
        let mut at = from.as_ref().map_or(0, |from| from.offset.get());
        let start = from.map_or(Start::Retained, Start::After);
        let mut watch = self.client.watch_from(self.arguments.task.clone(), start);
        let mut epoch = None;
        // A snapshot may be ahead of the events that are still to arrive.
        let mut end = None;
        while let Some(update) = watch.recv().await? {
            if let Some(state) = update.snapshot() {
                epoch = Some(state.epoch.clone());
                end = state.status.is_terminal().then(|| state.offset.get());
            }
            match update {
                Update::Snapshot(_) => {}
                Update::Event(event) => {
                    self.event(&event)?;
                    at = event.offset.get();
                    match event.event_type.ends_as() {
                        Some(_) => end = Some(at),
                        None if event.event_type == EventType::TaskStarted => end = None,
                        None => {}
                    }
                }
                Update::Gap { gap, .. } => {
                    at = gap.to.get();
                    let before = epoch
                        .clone()
                        .map(|epoch| Position::new(epoch, gap.from.prev()));
                    match before {
                        // The command prints every line. Read the events again that the server left
                        // out because of lag.
                        Some(before) if gap.reason != GapReason::Expired => {
                            match self.history(Since::from(before), Some(at)).await {
                                // The watch is about to say that the task was removed.
                                Err(Failure::NoTask { .. }) => self.miss(&gap),
                                read => drop(read?),
                            }
                        }
                        _ => self.miss(&gap),
                    }
                }
                Update::Reset { reason, offset, .. } => {
                    say(started_over(reason));
                    if reason == ResetReason::Removed {
                        return Ok(code::REMOVED);
                    }
                    at = offset.get();
                }
                _ => {}
            }
            if end.is_some_and(|end| at >= end) {
                break;
            }
        }
        Ok(0)
    }
}
