//! Any sequence of publishes, messages, partial writes and resumptions: no offset is lost or
//! repeated, every frame is whole, and control messages keep their order.

use std::sync::Arc;

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tidings_bus::watch::Task;
use tidings_bus::{Advance, BusConfig, EventBus, Hold, LogLimits, Reader, Watcher};
use tidings_protocol::{ErrorCode, NewEvent, Timestamp};
use tidings_testkit::{LINES, LineReader, WireChecker};

use super::*;
use crate::opening::{Opening, OpeningKind};

const TASKS: [&str; 2] = ["t", "u"];

/// A watcher for cursors that the test moves itself.
struct Still;

impl Watcher for Still {
    fn advance(&self, _: usize, _: &Arc<Topic>, _: &mut View) -> Advance {
        Advance::Done
    }
}

/// Lines, unchanged from the log or framed anew.
struct Lines {
    as_is: bool,
    access: Access,
    counters: Counters,
}

impl Encoder for Lines {
    fn is_as_is(&self) -> bool {
        self.as_is
    }

    fn control(&self, message: &ControlMessage, into: &mut Vec<u8>) {
        into.push(b'\n');
        into.extend_from_slice(message.encode(Timestamp::default()).as_bytes());
    }

    fn event(
        &self,
        record: &EventRecord,
        positions: &dyn Fn() -> Vec<(TaskId, Position)>,
        into: &mut Vec<u8>,
    ) {
        let positions = positions();
        let own = positions
            .iter()
            .find(|(id, _)| Some(id) == record.task_id());
        assert_eq!(own.map(|(_, at)| at), Some(&record.position()));
        // The spaces make the frame differ from the log's.
        into.extend_from_slice(b"\n  ");
        into.extend_from_slice(record.json().as_bytes());
    }

    fn established(&self, _: Option<Joined>) -> ControlMessage {
        unreachable!("the tasks are subscribed to by message")
    }

    fn framing(&self) -> &Framing {
        &LINES
    }

    fn skip(&self) -> SkipPolicy {
        SkipPolicy::behind(4)
    }

    fn access(&self) -> &Access {
        &self.access
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

#[derive(Debug, Clone)]
enum Op {
    Publish(usize, Kind),
    /// A message to the client, of this length.
    Tell(usize),
    /// The socket has room for this many bytes more.
    Room(usize),
    /// The client comes back with a new connection.
    Resume,
}

#[derive(Debug, Clone)]
enum Kind {
    Log(usize),
    Progress(u32),
    Delta(usize),
    Agent,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let kind = prop_oneof![
        (0usize..400).prop_map(Kind::Log),
        (0u32..100).prop_map(Kind::Progress),
        (1usize..60).prop_map(Kind::Delta),
        Just(Kind::Agent),
    ];
    let op = prop_oneof![
        5 => (0..TASKS.len(), kind).prop_map(|(task, kind)| Op::Publish(task, kind)),
        1 => (0usize..300).prop_map(Op::Tell),
        2 => (1usize..400).prop_map(Op::Room),
        1 => (400usize..5_000).prop_map(Op::Room),
        1 => Just(Op::Resume),
    ];
    prop::collection::vec(op, 1..120)
}

/// A connection without a lock, a clock and a socket, and its client.
struct Rig {
    bus: EventBus,
    text: Lines,
    tasks: Vec<Arc<Task>>,
    writer: Writer,
    subs: Subscriptions,
    room: usize,
    reader: LineReader,
    checker: WireChecker,
    told: usize,
    heard: usize,
}

impl Rig {
    fn new(as_is: bool) -> Self {
        let limits = LogLimits {
            max_events: 12,
            max_bytes: usize::MAX,
        };
        let config = BusConfig::default().log_limits(limits).framing(LINES);
        let bus = EventBus::new(config).unwrap();
        let task = |id: &str| {
            let id = TaskId::new(id).unwrap();
            bus.task_for(bus.ledger().own(), &id).unwrap()
        };
        let mut rig = Self {
            tasks: TASKS.map(task).into(),
            bus,
            text: Lines {
                as_is,
                access: Access::unrestricted(),
                counters: Counters::default(),
            },
            writer: Writer::default(),
            subs: Subscriptions::default(),
            room: 0,
            reader: LineReader::default(),
            checker: WireChecker::default(),
            told: 0,
            heard: 0,
        };
        for task in rig.tasks.clone() {
            rig.subscribe(&task, Start::Live);
        }
        rig
    }

    fn subscribe(&mut self, task: &Arc<Task>, start: Start) {
        let key = self.subs.vacant_key();
        let topic = task.topic();
        let reader = Reader::at(topic.join(&Start::Live).cursor);
        let attached = topic.attach(Arc::new(Still), key, Hold::Keeps).unwrap();
        let opening = Opening {
            start,
            kind: OpeningKind::Subscribed {
                reference: None,
                group: None,
            },
            trees: Vec::new(),
        };
        let source = Source::Task(Arc::clone(task));
        let sub = Sub::new(source, reader, attached, opening, (true, false));
        self.subs.insert(sub);
        self.subs.enqueue(key);
    }

    fn publish(&mut self, task: usize, kind: &Kind) {
        let event = match kind {
            Kind::Log(len) => NewEvent::log("x".repeat(*len)),
            Kind::Progress(percent) => NewEvent::progress(f64::from(*percent), "p"),
            Kind::Delta(len) => NewEvent::output_delta("o", "y".repeat(*len)),
            Kind::Agent => NewEvent::agent_status("a", tidings_protocol::AgentStatus::Idle, "m"),
        };
        let id = TaskId::new(TASKS[task]).unwrap();
        let published = self.bus.publish(&id, event).now_or_never();
        published.expect("there is no store").unwrap();
        if self.writer.blocked {
            self.subs.enqueue(task);
        } else {
            self.pump(task);
        }
    }

    /// Takes as many bytes as the socket has room for, and gives them to the client.
    fn accept(&mut self, slices: &[Vec<u8>]) -> usize {
        let bytes: Vec<u8> = slices.concat();
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        for line in self.reader.take(&bytes[..taken]) {
            let message = self.checker.message(&line);
            let message = message.unwrap_or_else(|error| panic!("{error}: {line}"));
            if message["event_type"] == "error" {
                let number = message["data"]["message"].as_str().unwrap();
                let number = number.split(' ').next().unwrap();
                self.heard += 1;
                assert_eq!(number.parse(), Ok(self.heard), "messages keep their order");
            }
        }
        taken
    }

    fn pump(&mut self, key: usize) {
        let topic = Arc::clone(self.subs.get(key).unwrap().source.topic());
        let mut view = View::default();
        topic.fill(
            &mut view,
            self.subs.get(key).unwrap().reader.cursor().next_offset(),
        );
        for _ in 0..1_000 {
            let turn = self
                .writer
                .next(&mut self.subs, key, (&topic, &mut view), &self.text);
            let write = match turn {
                Turn::Idle => return,
                Turn::Write(write) => write,
                Turn::Fetch | Turn::Over => unreachable!("there is no store, and no task goes"),
            };
            let offer = write.offer(&view);
            let (offered, slices) = (offer.len(), copied(offer.slices()));
            let written = self.accept(&slices);
            let account = || self.bus.ledger().own().clone();
            let result = (offered, written);
            let (_, flow) = self
                .writer
                .commit(&mut self.subs, write, result, &view, account);
            assert_eq!(flow == Flow::Clear, written == offered);
            if flow == Flow::Blocked {
                return;
            }
        }
        panic!("a cursor makes no progress");
    }

    fn tell(&mut self, len: usize) {
        self.told += 1;
        let text = format!("{} {}", self.told, "z".repeat(len));
        let message = ControlMessage::error(None, ErrorCode::InvalidMessage, text);
        let mut bytes = Vec::new();
        self.text.control(&message, &mut bytes);
        if self.writer.blocked {
            let account = || self.bus.ledger().own().clone();
            self.writer.pending_control(&bytes, account);
        } else {
            let written = self.accept(&[bytes.clone()]);
            let account = || self.bus.ledger().own().clone();
            self.writer.commit_control(&bytes, written, account);
        }
    }

    /// Drives the connection as its task does when the socket has room.
    fn drive(&mut self) {
        self.writer.blocked = false;
        if let Some(waiting) = self.writer.waiting() {
            let waiting = copied(&waiting);
            let written = self.accept(&waiting);
            if self.writer.commit_waiting(written) == Flow::Blocked {
                return;
            }
        }
        while !self.writer.blocked
            && let Some(key) = self.subs.next_waiting()
        {
            self.pump(key);
        }
    }

    /// Passes the cursors to a new connection.
    fn resume(&mut self) {
        self.writer.rewind(&mut self.subs);
        let starts: Vec<_> = self.subs.iter().map(|(_, sub)| start_of(sub)).collect();
        (self.writer, self.subs) = Default::default();
        for (task, start) in self.tasks.clone().iter().zip(starts) {
            self.subscribe(task, start);
        }
        self.checker = self.checker.resumed(|_| true);
        self.reader = LineReader::default();
        self.room = 0;
        // Answers that the old connection did not write are lost with it.
        (self.told, self.heard) = (0, 0);
    }

    fn run(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Publish(task, kind) => self.publish(*task, kind),
                Op::Tell(len) => self.tell(*len),
                Op::Room(bytes) => {
                    self.room += bytes;
                    self.drive();
                }
                Op::Resume => self.resume(),
            }
            let waits = self.writer.is_waiting();
            assert!(
                !waits || self.writer.blocked,
                "waiting bytes are not passed"
            );
        }
        self.room = usize::MAX;
        self.drive();
        assert!(!self.writer.blocked && !self.writer.is_waiting() && !self.subs.any_waiting());
        assert_eq!(self.heard, self.told);
        for task in &self.tasks {
            let snapshot = task.snapshot();
            let checked = self.checker.task(snapshot.task_id.as_str()).unwrap();
            assert_eq!(checked.position().unwrap().offset, snapshot.offset);
            self.checker.compare(&snapshot).unwrap();
        }
    }
}

fn start_of(sub: &Sub) -> Start {
    match &sub.source {
        Source::Task(task) => sub.kept(task).start,
        Source::Inbox(_) => unreachable!("the test has no inbox"),
    }
}

fn copied(slices: &[IoSlice<'_>]) -> Vec<Vec<u8>> {
    slices.iter().map(|slice| slice.to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn any_partial_writes_keep_frames_whole_and_offsets_contiguous(
        ops in ops(),
        as_is in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // The bus's own workers never run, so the test alone moves the cursors.
        let _entered = runtime.enter();
        Rig::new(as_is).run(&ops);
    }
}
