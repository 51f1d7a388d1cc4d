//! The servers, and one connection to them with its messages on the way.

use super::*;

/// All events that were seen anywhere. Within one epoch of a task, each `event_id` has
/// one offset.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) places: HashMap<(TaskId, Epoch, EventId), u64>,
    pub(super) events: u64,
    /// The number of the token that servers accept. Servers refuse lower numbers.
    pub(super) token: u64,
}

impl Ledger {
    pub(super) fn next_id(&mut self) -> EventId {
        self.events += 1;
        EventId::new(format!("event-{}", self.events)).unwrap()
    }

    pub(super) fn token(&self) -> String {
        format!("token-{}", self.token)
    }

    pub(super) fn seen(&mut self, task: &TaskId, epoch: &Epoch, id: &EventId, offset: u64) {
        let key = (task.clone(), epoch.clone(), id.clone());
        let place = *self.places.entry(key).or_insert(offset);
        assert_eq!(place, offset, "{id} is in the log of {task} twice");
    }
}

pub(super) struct Node {
    pub(super) bus: EventBus,
    pub(super) manager: ConnectionManager,
    pub(super) limits: LogLimits,
    pub(super) skip: SkipPolicy,
}

impl Node {
    pub(super) fn new(limits: LogLimits, skip: SkipPolicy) -> Self {
        let config = BusConfig::default()
            .framing(LINES)
            .log_limits(limits)
            .sweep_interval(Duration::from_millis(500))
            .finished_events_ttl(Duration::from_secs(2))
            .pinned_ttl(Duration::from_secs(8))
            .idle_ttl(Duration::from_secs(30));
        let bus = EventBus::new(config).unwrap();
        let manager = manager(&bus, skip);
        Self {
            bus,
            manager,
            limits,
            skip,
        }
    }
}

pub(super) fn manager(bus: &EventBus, skip: SkipPolicy) -> ConnectionManager {
    let config = ConnectionsConfig::default()
        .skip(skip)
        .heartbeat_interval(Duration::from_secs(1))
        .write_timeout(Duration::from_secs(1_000_000));
    ConnectionManager::new(bus.clone(), config).unwrap()
}

pub(super) async fn drive(guard: ConnectionGuard) {
    let connection = guard.connection().clone();
    std::future::poll_fn(|cx| {
        // The read side notices a broken pipe, as it notices the end of a socket.
        let mut byte = [0];
        if connection.socket().poll_read_ready(cx).is_ready()
            && matches!(connection.socket().try_read(&mut byte), Ok(0))
        {
            return std::task::Poll::Ready(CloseReason::ClientGone);
        }
        connection.poll_drive(cx)
    })
    .await;
    drop(guard);
}

/// One connection, with its messages on the way.
pub(super) struct Net {
    pub(super) pipe: PipeSocket,
    pub(super) connection: Arc<Connection>,
    pub(super) driver: tokio::task::JoinHandle<()>,
    pub(super) reader: LineReader,
    pub(super) to_server: VecDeque<String>,
    /// True if no message arrives any more and neither side is told.
    pub(super) stalled: bool,
}
