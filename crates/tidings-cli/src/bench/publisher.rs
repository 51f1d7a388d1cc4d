//! The producer publishes at a fixed rate, or whenever there is room for one more
//! event.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::SinkExt as _;
use futures_util::stream::{SplitSink, SplitStream, StreamExt as _};
use serde::{Deserialize, Serialize};
use tidings_client::protocol::{ClientMessage, ClientRequest, Data, EventType, NewEvent};
use tokio::time::{Instant, interval};
use tungstenite::Message;
use tungstenite::http::Uri;

use super::lanes::Lanes;
use super::tally::Tally;
use super::watcher::{Incoming, Socket, text};
use super::{BenchError, Target};

/// An event type of an application. The server never leaves out such events, even if
/// the lag is large.
pub(crate) const EVENT_TYPE: &str = "bench.tick";

/// The shortest time that the runtime's timer can wait.
const TIMER: Duration = Duration::from_millis(1);

/// The pace of the publisher.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// This number of events per second.
    Rate(u32),
    /// A new event whenever fewer than this number are in flight.
    InFlight(usize),
}

/// The data of an event.
#[derive(Serialize, Deserialize)]
pub(crate) struct Tick<T = serde::de::IgnoredAny> {
    /// The time of the publish, in microseconds since the start of the run.
    at: u64,
    #[allow(dead_code, reason = "only sent")]
    text: T,
}

impl<T> Tick<T> {
    /// Returns the time since the publish.
    pub(crate) fn age(&self, began: Instant) -> Duration {
        began
            .elapsed()
            .saturating_sub(Duration::from_micros(self.at))
    }
}

pub(crate) struct Publisher {
    sink: SplitSink<Socket, Message>,
    uri: Uri,
    lanes: Rc<Lanes>,
    tally: Rc<RefCell<Tally>>,
    text: String,
    began: Instant,
    /// The index of the next task.
    next: usize,
}

/// Reads the server's answers.
pub(crate) struct Answers {
    stream: SplitStream<Socket>,
    uri: Uri,
    lanes: Rc<Lanes>,
    tally: Rc<RefCell<Tally>>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "ref")]
    lane: Option<usize>,
    message: String,
}

/// Opens the connection for the publishes.
pub(crate) async fn connect(
    target: &Target,
    lanes: &Rc<Lanes>,
    tally: &Rc<RefCell<Tally>>,
    began: Instant,
    bytes: usize,
) -> Result<(Publisher, Answers), BenchError> {
    let uri = target.uri(None);
    let (sink, stream) = target.open(&uri).await?.split();
    let publisher = Publisher {
        sink,
        uri: uri.clone(),
        lanes: Rc::clone(lanes),
        tally: Rc::clone(tally),
        text: "x".repeat(bytes),
        began,
        next: 0,
    };
    let answers = Answers {
        stream,
        uri,
        lanes: Rc::clone(lanes),
        tally: Rc::clone(tally),
    };
    Ok((publisher, answers))
}

impl Publisher {
    /// Publishes until an error occurs.
    pub(crate) async fn run(&mut self, pace: Pace) -> Result<(), BenchError> {
        match pace {
            Pace::Rate(rate) => {
                // The runtime's timer has a resolution of one millisecond.
                let mut turn = interval((Duration::from_secs(1) / rate).max(TIMER));
                let start = Instant::now();
                let mut sent = 0;
                loop {
                    turn.tick().await;
                    let due = start.elapsed().as_micros() * u128::from(rate) / 1_000_000;
                    while sent < due {
                        self.feed().await?;
                        sent += 1;
                    }
                    self.flush().await?;
                }
            }
            Pace::InFlight(most) => loop {
                while self.lanes.in_flight() < most {
                    self.feed().await?;
                }
                self.flush().await?;
                if self.lanes.in_flight() >= most {
                    self.lanes.room.notified().await;
                }
            },
        }
    }

    async fn feed(&mut self) -> Result<(), BenchError> {
        let lane = self.next;
        self.next = (lane + 1) % self.lanes.len();
        let tick = Tick {
            at: u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX),
            text: self.text.as_str(),
        };
        let data = Data::from_serialize(&tick).expect("a number and a text are an object");
        let event_type: EventType = EVENT_TYPE.parse().expect("a literal of the alphabet");
        let request = ClientRequest::Publish {
            task_id: Some(self.lanes.id(lane).clone()),
            event: NewEvent::new(event_type, data),
        };
        let message = ClientMessage::from(request).with_reference((lane as u64).into());
        self.tally.borrow_mut().published(self.lanes.watchers(lane));
        self.lanes.sent(lane);
        let sent = self.sink.feed(Message::text(message.encode())).await;
        sent.map_err(|error| BenchError::connection(&self.uri, error))
    }

    async fn flush(&mut self) -> Result<(), BenchError> {
        let flushed = self.sink.flush().await;
        flushed.map_err(|error| BenchError::connection(&self.uri, error))
    }
}

impl Answers {
    /// Reads answers until an error occurs.
    pub(crate) async fn run(mut self) -> Result<(), BenchError> {
        loop {
            let text = text(&mut self.stream, &self.uri).await?;
            let message = Incoming::read(&text)?;
            match message.event_type {
                "ack" => self.tally.borrow_mut().accepted(),
                "error" => {
                    let refusal: Refusal = message.data()?;
                    let Some(lane) = refusal.lane.filter(|lane| *lane < self.lanes.len()) else {
                        continue;
                    };
                    let watchers = self.lanes.watchers(lane);
                    self.tally.borrow_mut().refused(watchers, &refusal.message);
                    self.lanes.refused(lane);
                }
                "going_away" => {
                    return Err(BenchError::closed(None, message.data.get()));
                }
                _ => {}
            }
        }
    }
}
