//! `tidings publish`: an event, or a stream of them.

mod target;

use std::io::BufRead as _;
use std::process::ExitCode;
use std::time::Duration;

use tidings_client::protocol::{EventId, NewEvent, Source};
use tidings_client::{Acknowledged, Client, Receipt, ReceiptError};
use tokio::sync::mpsc;

use crate::connect::Server;
use crate::{Failure, print, value};
use target::{Own, Target};

const EXAMPLES: &str = "\
Examples:
  tidings publish build-1 task_started name='My build'
  tidings publish build-1 progress_update progress=40 message=linking
  tidings publish build-1 task_completed '{\"result\": {\"size\": 1024}}'
  tidings publish build-1 task_failed error='disk full'
  tidings publish progress=40                 in a script under `tidings run`
  printf '%s\\n' '{\"event_type\":\"log\",\"data\":{\"message\":\"hello\"}}' | tidings publish build-1

Prints the event's place in the task's log. Exit codes: 0 published, 1 refused by
the server, 64 wrong usage, 65 a line of the input is wrong, 69 no answer in time,
77 the token is missing or not enough.";

/// Lines read ahead of the server's answers.
const AHEAD: usize = 256;

/// Publish an event to a task, or every line of standard input as one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The task, what kind of event, and what it says
    ///
    /// The kind is task_started, progress_update, log, or your own; without it and
    /// without data, each line of standard input is an event: {"event_type": …,
    /// "data": …}. Data is a JSON object, or key=value as often as needed. Within
    /// `tidings run` the task may be left out. progress=… and message=… need no kind.
    #[arg(value_name = "[TASK] [EVENT_TYPE] [DATA]")]
    words: Vec<String>,

    /// Makes a retry harmless: a second event of this id is not taken
    #[arg(long, value_name = "ID")]
    event_id: Option<EventId>,

    /// Who made the event
    #[arg(long, value_name = "NAME")]
    source: Option<Source>,

    /// How long to wait for the server [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = value::time::<1>)]
    timeout: Option<Duration>,
}

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let timeout = arguments.timeout.unwrap_or(TIMEOUT);
    let limit = Limit {
        url: arguments.server.url.clone(),
        timeout,
    };
    let own = Own::from_environment();
    let target = target::parse(&arguments.words, own)?;
    let task = &target.task;
    match target.event {
        Some((event_type, data)) => {
            let mut event = NewEvent::new(event_type, data);
            event.event_id = arguments.event_id;
            event.source = arguments.source;
            event.run = target.run;
            let client = arguments.server.client()?;
            let published = limit.wait(client.publish(task, event)).await?;
            tell(&published)?;
            client.close(timeout).await;
        }
        None => {
            let client = arguments.server.client()?;
            lines(&client, &target, arguments.source.as_ref(), &limit).await?;
            client.close(timeout).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(published: &Acknowledged) -> Result<(), Failure> {
    let duplicate = if published.duplicate {
        " (was there already)"
    } else {
        ""
    };
    let (epoch, offset) = (&published.epoch, published.offset);
    print(&format!("{epoch}:{offset}{duplicate}"))
}

struct Limit {
    url: String,
    timeout: Duration,
}

impl Limit {
    async fn wait(
        &self,
        answer: impl Future<Output = Result<Acknowledged, ReceiptError>>,
    ) -> Result<Acknowledged, Failure> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::Timeout {
                url: self.url.clone(),
                after: self.timeout,
            }),
        }
    }
}

/// Publishes each line, many at a time, and prints the answers in order.
async fn lines(
    client: &Client,
    target: &Target,
    source: Option<&Source>,
    limit: &Limit,
) -> Result<(), Failure> {
    let (sender, mut lines) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut receipts: std::collections::VecDeque<Receipt> = std::collections::VecDeque::new();
    let mut number = 0;
    while let Some(line) = lines.recv().await {
        number += 1;
        let wrong = |why: String| Failure::Input { line: number, why };
        let line = line.map_err(|error| wrong(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let mut event: NewEvent =
            serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        event.source = event.source.or_else(|| source.cloned());
        event.run = event.run.or(target.run);
        receipts.push_back(client.queue(&target.task, event).await?);
        while receipts.len() >= AHEAD
            && let Some(receipt) = receipts.pop_front()
        {
            tell(&limit.wait(receipt).await?)?;
        }
    }
    for receipt in receipts {
        tell(&limit.wait(receipt).await?)?;
    }
    Ok(())
}
