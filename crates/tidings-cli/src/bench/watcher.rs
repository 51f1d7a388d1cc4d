//! One watcher. It reads events and checks that each has the next offset.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::stream::StreamExt as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidings_client::ServerStream;
use tidings_client::protocol::TaskId;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tungstenite::http::Uri;
use tungstenite::{Message, Utf8Bytes};

use super::lanes::Lanes;
use super::publisher::{EVENT_TYPE, Tick};
use super::tally::Tally;
use super::{BenchError, Target};

pub(crate) type Socket = WebSocketStream<ServerStream>;

pub(crate) struct Watcher {
    socket: Socket,
    uri: Uri,
    task: usize,
    /// The next expected offset.
    next: u64,
}

/// The fields of a server message that the bench reads.
#[derive(Deserialize)]
pub(crate) struct Incoming<'a> {
    pub(crate) event_type: &'a str,
    pub(crate) offset: Option<u64>,
    #[serde(borrow)]
    pub(crate) data: &'a RawValue,
}

impl<'a> Incoming<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, BenchError> {
        serde_json::from_str(text).map_err(BenchError::Message)
    }

    pub(crate) fn data<T: Deserialize<'a>>(&self) -> Result<T, BenchError> {
        serde_json::from_str(self.data.get()).map_err(BenchError::Message)
    }
}

#[derive(Deserialize)]
struct Established {
    #[serde(default)]
    offset: u64,
}

#[derive(Deserialize)]
struct Gap {
    from: u64,
    to: u64,
}

/// Returns the next text message.
pub(crate) async fn text(
    socket: &mut (impl futures_util::Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    uri: &Uri,
) -> Result<Utf8Bytes, BenchError> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Close(frame))) => {
                let reason = frame
                    .as_ref()
                    .map(|frame| format!("{} {}", frame.code, frame.reason));
                let code = frame.map(|frame| frame.code.into());
                return Err(BenchError::closed(code, &reason.unwrap_or_default()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(BenchError::connection(uri, error)),
            None => return Err(BenchError::closed(None, "")),
        }
    }
}

impl Watcher {
    /// Connects and waits for the greeting. From then on, the watcher misses no event.
    pub(crate) async fn connect(
        target: &Target,
        task_id: &TaskId,
        task: usize,
    ) -> Result<Self, BenchError> {
        let uri = target.uri(Some(task_id));
        let mut socket = target.open(&uri).await?;
        loop {
            let text = text(&mut socket, &uri).await?;
            let message = Incoming::read(&text)?;
            if message.event_type == "connection_established" {
                let next = message.data::<Established>()?.offset + 1;
                return Ok(Self {
                    socket,
                    uri,
                    task,
                    next,
                });
            }
        }
    }

    /// Reads until an error occurs.
    pub(crate) async fn run(
        mut self,
        began: Instant,
        tally: Rc<RefCell<Tally>>,
        lanes: Rc<Lanes>,
    ) -> Result<(), BenchError> {
        loop {
            let text = text(&mut self.socket, &self.uri).await?;
            let message = Incoming::read(&text)?;
            if let Some(offset) = message.offset.filter(|_| message.event_type == EVENT_TYPE) {
                if offset != self.next {
                    return Err(self.broken(&format!("offset {offset} came")));
                }
                self.next += 1;
                let tick: Tick = message.data()?;
                tally.borrow_mut().delivered(tick.age(began));
                lanes.arrived(self.task, offset);
            } else if message.event_type == "gap" {
                let gap: Gap = message.data()?;
                if gap.from != self.next {
                    return Err(self.broken(&format!("a gap came from {}", gap.from)));
                }
                let events = (gap.to + 1).saturating_sub(gap.from);
                self.next = gap.to + 1;
                tally.borrow_mut().told_of_gap(events);
                (gap.from..=gap.to).for_each(|offset| lanes.arrived(self.task, offset));
            } else if message.event_type == "reset" {
                self.next = message.data::<Established>()?.offset + 1;
            } else if message.event_type == "going_away" {
                return Err(BenchError::closed(None, message.data.get()));
            }
        }
    }

    fn broken(&self, what: &str) -> BenchError {
        BenchError::Broken(format!(
            "{}: {what} where {} was next",
            self.uri.path(),
            self.next
        ))
    }
}
