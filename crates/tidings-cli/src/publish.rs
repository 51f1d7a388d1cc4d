//! `tidings publish`: publishes one event or a stream of events.

mod input;
mod target;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tidings_client::protocol::{EventId, NewEvent, Source, TaskId};
use tidings_client::{Acknowledged, Client, Receipt, ReceiptError};

use crate::connect::Server;
use crate::format::Format;
use crate::{Failure, print, print_json, value};
use target::Own;

const EXAMPLES: &str = "\
Examples:
  tidings publish build-1 task_started name='My build'
  tidings publish build-1 progress_update progress=40 message=linking
  tidings publish build-1 task_completed result:='{\"size\": 1024}'
  tidings publish build-1 task_failed error='disk full'
  tidings publish progress=40                 in a script under `tidings run`
  printf '%s\\n' '{\"event_type\":\"log\",\"data\":{\"message\":\"hello\"}}' | tidings publish build-1

key=text is text, whatever it looks like; key:=json is any JSON. Only fields that are
numbers by the protocol, such as progress, take a number by = as well.

Prints the event's place in the task's log. The first line of the input that is wrong
ends it; the events before it are published, and their places are printed.
Exit codes: 0 published; 64 wrong usage; 65 a line of the input is wrong, or no event can
have such a value; 69 no answer from the server in time; 76 refused by the server; 77 the
token is missing or not enough.";

/// The number of lines read before the server answers them.
const AHEAD: usize = 256;

/// Publish an event to a task, or every line of standard input as one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The task, the type of the event, and its data
    ///
    /// The type is task_started, progress_update, log or another of the protocol, or your
    /// own. Without a type and data, each line of standard input is an event:
    /// {"event_type": …, "data": …}. Data is a JSON object, or key=text and key:=json as often as
    /// needed. Within `tidings run` the task may be left out. progress=… and message=…
    /// need no type.
    #[arg(value_name = "[TASK] [EVENT_TYPE] [DATA]")]
    words: Vec<String>,

    /// An id of your own for the event; a second event with this id is not published
    #[arg(long, value_name = "ID")]
    event_id: Option<EventId>,

    /// The name of the program or machine that made the event
    #[arg(long, value_name = "NAME")]
    source: Option<Source>,

    /// How long to wait for the server [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = value::time::<1>)]
    timeout: Option<Duration>,

    #[command(flatten)]
    format: Format,
}

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let timeout = arguments.timeout.unwrap_or(TIMEOUT);
    let own = Own::from_environment()?;
    let target = target::parse(&arguments.words, own)?;
    let client = match (&target.event, &arguments.event_id) {
        (None, Some(_)) => {
            return Err(Failure::Argument {
                what: "--event-id",
                why: "it names one event, and each line of standard input is an event; \
                      give each line an \"event_id\" of its own"
                    .to_owned(),
            });
        }
        _ => arguments.server.client()?,
    };
    let limit = Limit {
        url: arguments.server.url.clone(),
        timeout,
        json: arguments.format.is_json(),
    };
    match target.event {
        Some((event_type, data)) => {
            let mut event = NewEvent::new(event_type, data);
            event.event_id = arguments.event_id;
            event.source = arguments.source;
            event.run = target.run;
            let published = limit.wait(client.publish(&target.task, event)).await?;
            limit.tell(&published.map_err(Failure::Publish)?)?;
        }
        None => {
            let publish = |line: String| {
                let mut event: NewEvent = serde_json::from_str(&line)?;
                event.source = event.source.or_else(|| arguments.source.clone());
                event.run = event.run.or(target.run);
                Ok(event)
            };
            lines(&client, &target.task, publish, &limit).await?;
        }
    }
    client.close(timeout).await;
    Ok(ExitCode::SUCCESS)
}

/// The time limit for an answer, and the format of its output.
struct Limit {
    url: String,
    timeout: Duration,
    json: bool,
}

impl Limit {
    async fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let answer = tokio::time::timeout(self.timeout, answer).await;
        answer.map_err(|_| Failure::Timeout {
            url: self.url.clone(),
            after: self.timeout,
        })
    }

    fn tell(&self, published: &Acknowledged) -> Result<(), Failure> {
        let Acknowledged {
            task_id,
            epoch,
            offset,
            duplicate,
            run,
            ..
        } = published;
        if self.json {
            let json = json!({
                "task_id": task_id, "epoch": epoch, "offset": offset,
                "duplicate": duplicate, "run": run,
            });
            return print_json(&json.to_string());
        }
        let duplicate = if *duplicate {
            " (was there already)"
        } else {
            ""
        };
        print(&format!("{epoch}:{offset}{duplicate}"))
    }
}

/// Publishes each line, many at a time, and prints the answers in order. The first wrong line ends
/// the command, after the answers to the lines before it are printed.
async fn lines(
    client: &Client,
    task: &TaskId,
    event: impl Fn(String) -> Result<NewEvent, serde_json::Error>,
    limit: &Limit,
) -> Result<(), Failure> {
    let mut lines = input::lines(AHEAD);
    let mut receipts = VecDeque::new();
    let mut number = 0;
    let mut ended = None;
    while ended.is_none() || !receipts.is_empty() {
        tokio::select! {
            biased;
            answer = front(&mut receipts, limit) => {
                let told = match answer {
                    (_, Ok(Ok(published))) => limit.tell(&published),
                    (line, Ok(Err(cause))) => Err(Failure::Line { line, cause }),
                    // After one timeout, do not wait the same time again for each further line.
                    (_, Err(failure)) => return Err(failure),
                };
                // Lines after a refused one are already on their way, so print their answers too.
                match told {
                    Err(failure @ Failure::Output(_)) => return Err(failure),
                    Err(failure) => ended = Some(earlier(ended, failure)),
                    Ok(()) => {}
                }
            }
            line = lines.recv(), if ended.is_none() && receipts.len() < AHEAD => {
                let Some(line) = line else {
                    ended = Some(Ok(()));
                    continue;
                };
                number += 1;
                match line {
                    Ok(line) if line.trim().is_empty() => {}
                    Ok(line) => match event(line) {
                        Ok(event) => match client.queue(task, event).await {
                            Ok(receipt) => receipts.push_back((number, receipt)),
                            Err(cause) => {
                                ended = Some(Err(Failure::Line { line: number, cause }));
                            }
                        },
                        Err(error) => ended = Some(Err(wrong(number, error.to_string()))),
                    },
                    Err(why) => ended = Some(Err(wrong(number, why))),
                }
            }
        }
    }
    ended.unwrap_or(Ok(()))
}

fn wrong(line: usize, why: String) -> Failure {
    Failure::Input { line, why }
}

/// Returns the failure of the earlier line. A refusal always concerns an earlier line than the one
/// that ended the input.
fn earlier(ended: Option<Result<(), Failure>>, refusal: Failure) -> Result<(), Failure> {
    match ended {
        Some(Err(known @ Failure::Line { .. })) => Err(known),
        _ => Err(refusal),
    }
}

/// Waits for the answer to the oldest line. If no line waits, the future never completes.
async fn front(
    receipts: &mut VecDeque<(usize, Receipt)>,
    limit: &Limit,
) -> (usize, Result<Result<Acknowledged, ReceiptError>, Failure>) {
    let Some((line, receipt)) = receipts.front_mut() else {
        return std::future::pending().await;
    };
    let line = *line;
    let answer = limit.wait(receipt).await;
    receipts.pop_front();
    (line, answer)
}
