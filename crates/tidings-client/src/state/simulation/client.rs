//! One client and the program that uses it.

use std::sync::LazyLock;

use super::*;
use crate::defaults::MAX_MESSAGE_BYTES;
use crate::error::ReceiptError;

pub(super) struct Client {
    pub(super) number: usize,
    pub(super) state: State,
    pub(super) net: Option<Net>,
    /// True if the client has asked to connect and the network has not answered.
    pub(super) connecting: bool,
    /// The last token that the client has shown.
    pub(super) shown: Option<String>,
    /// The last token that a server has refused.
    pub(super) refused: Option<String>,
    /// True if the client has asked its source for a token.
    pub(super) wants_token: bool,
    pub(super) watches: BTreeMap<WatchId, SimWatch>,
    pub(super) waiting: BTreeMap<RequestId, (TaskId, EventId)>,
    pub(super) answered: BTreeSet<RequestId>,
    pub(super) jobs: Vec<SimJob>,
    /// Starts and ends of jobs that were not answered yet.
    pub(super) asked: BTreeSet<RequestId>,
}

/// A task that the program of a client performs.
pub(super) struct SimJob {
    pub(super) id: JobId,
    pub(super) mark: String,
    pub(super) reports: u64,
}

/// A text whose event is too large only as a message, with its names and stamps.
pub(super) static LARGE: LazyLock<String> = LazyLock::new(|| "x".repeat(MAX_MESSAGE_BYTES - 64));

/// The tasks that clients perform and compete for.
pub(super) const JOBS: [&str; 2] = ["j-1", "j-2"];

pub(super) fn own(event_type: &str, data: serde_json::Value) -> NewEvent {
    NewEvent::new(event_type.parse().unwrap(), Data::from_value(data).unwrap())
}

impl Client {
    pub(super) fn new(number: usize, rng: &mut Rng, ledger: &Ledger) -> Self {
        let config = ClientConfig::default()
            .seed(rng.u64(..))
            .watch_updates([1, 4, 50, 1_000][rng.usize(..4)]);
        let mut state = State::new(config, Some(ledger.token().into()), true);
        state.start(Instant::now());
        Self {
            number,
            state,
            net: None,
            connecting: false,
            shown: None,
            refused: None,
            wants_token: false,
            watches: BTreeMap::new(),
            waiting: BTreeMap::new(),
            answered: BTreeSet::new(),
            jobs: Vec::new(),
            asked: BTreeSet::new(),
        }
    }

    /// Lets the program begin a task, report on one, or end one.
    pub(super) fn work(&mut self, rng: &mut Rng, ledger: &mut Ledger) {
        let now = Instant::now();
        if self.jobs.is_empty() || rng.u8(..6) == 0 && self.jobs.len() < 3 {
            ledger.events += 1;
            let mark = format!("job-{}", ledger.events);
            // A server would hang up over some starts.
            let name = match rng.u8(..8) {
                0 => LARGE.repeat(2),
                _ => mark.clone(),
            };
            let beginning = Beginning {
                task_id: TaskId::new(JOBS[rng.usize(..JOBS.len())]).unwrap(),
                event: NewEvent::task_started(name),
                source: None,
                lease: [None, Some(Duration::from_secs(2))][rng.usize(..2)],
                mark: mark.clone(),
            };
            trace(|| {
                format!(
                    "client {} begins {} as {mark}",
                    self.number, beginning.task_id
                )
            });
            let (id, start) = self.state.begin(beginning, None, now);
            self.asked.insert(start);
            let reports = 0;
            self.jobs.push(SimJob { id, mark, reports });
            return self.outputs(ledger);
        }
        let at = rng.usize(..self.jobs.len());
        if rng.u8(..5) == 0 {
            self.end_job(at, rng.bool(), now);
            return self.outputs(ledger);
        }
        for _ in 0..rng.usize(1..8) {
            let job = &mut self.jobs[at];
            if rng.u8(..16) == 0 {
                let data = serde_json::json!({ "text": *LARGE });
                self.state.report(job.id, own("large", data), now);
            }
            job.reports += 1;
            let data = serde_json::json!({ "mark": job.mark, "n": job.reports });
            self.state.report(job.id, own("count", data), now);
        }
        self.outputs(ledger);
    }

    pub(super) fn end_job(&mut self, at: usize, completes: bool, now: Instant) {
        let job = self.jobs.swap_remove(at);
        trace(|| format!("client {} ends {}", self.number, job.mark));
        if completes {
            let result = serde_json::json!(job.mark);
            if let Ok(end) = self
                .state
                .end(job.id, NewEvent::task_completed(result), now)
            {
                self.asked.insert(end);
            }
        }
        let error = TaskError::new(job.mark);
        self.state.leave(job.id, NewEvent::task_failed(error), now);
    }

    pub(super) fn handle(&mut self, input: Input, ledger: &mut Ledger) {
        trace(|| format!("client {} {:.400}", self.number, format!("{input:?}")));
        self.state.handle(input, Instant::now());
        self.outputs(ledger);
    }

    pub(super) fn outputs(&mut self, ledger: &mut Ledger) {
        while let Some(output) = self.state.poll_output() {
            match output {
                Output::Connect(token) => {
                    self.connecting = true;
                    self.shown = token.map(|token| token.reveal().to_owned());
                    assert!(self.shown.is_some(), "there is a token");
                    assert_ne!(self.shown, self.refused, "a refused token is shown again");
                }
                Output::RefreshToken => self.wants_token = true,
                Output::Send(text) => {
                    trace(|| format!("client {} sends {text:.200}", self.number));
                    assert!(text.len() <= MAX_MESSAGE_BYTES, "the server hangs up");
                    let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == "authenticate" {
                        self.shown = message["token"].as_str().map(str::to_owned);
                    }
                    if let Some(net) = &mut self.net {
                        net.to_server.push_back(text);
                    }
                }
                Output::Disconnect => {
                    self.connecting = false;
                    if let Some(net) = self.net.take() {
                        net.pipe.break_off();
                    }
                }
                Output::Acknowledged(id, answer) => {
                    assert!(self.answered.insert(id), "answered twice");
                    self.asked.remove(&id);
                    // Other requests are a start or an end, which the program has sent
                    // or a drop has caused.
                    let Some((task, event_id)) = self.waiting.remove(&id) else {
                        continue;
                    };
                    if let Ok(published) = answer {
                        let offset = published.offset.get();
                        ledger.seen(&task, &published.epoch, &event_id, offset);
                    }
                }
                Output::Commanded(..) | Output::TreeCommanded(..) => {
                    unreachable!("not asked for")
                }
                Output::Wake(_) | Output::Room | Output::Reported | Output::Status => {}
            }
        }
        assert!(self.state.stopped().is_none(), "nothing here ends a client");
    }

    pub(super) fn tick(&mut self, ledger: &mut Ledger) {
        if self
            .state
            .poll_timeout()
            .is_some_and(|due| Instant::now() >= due)
        {
            self.handle(Input::Tick, ledger);
        }
    }

    pub(super) fn connect(&mut self, node: &Node, rng: &mut Rng, ledger: &mut Ledger) {
        if !std::mem::take(&mut self.connecting) {
            return;
        }
        if rng.u8(..4) == 0 {
            return self.handle(Input::Lost(Loss::Refused { status: 503 }), ledger);
        }
        if self.shown != Some(ledger.token()) {
            self.refused.clone_from(&self.shown);
            return self.handle(Input::Lost(Loss::Refused { status: 401 }), ledger);
        }
        let pipe = PipeSocket::new([100, 1_000, 20_000][rng.usize(..3)]);
        let socket = Box::new(pipe.clone());
        let request = ConnectRequest::new(Access::unrestricted());
        let guard = connect(&node.manager, request, socket, &LineWire).unwrap();
        self.net = Some(Net {
            pipe,
            connection: guard.connection().clone(),
            driver: tokio::spawn(drive(guard)),
            reader: LineReader::default(),
            to_server: VecDeque::new(),
            stalled: false,
        });
        self.handle(Input::Opened, ledger);
    }

    /// Lets the token source answer, fail or stay silent. The program may also set a
    /// token of its own.
    pub(super) fn refresh(&mut self, rng: &mut Rng, ledger: &mut Ledger) {
        let token = ledger.token();
        if rng.u8(..3) == 0 {
            self.state.set_token(token.into(), Instant::now()).unwrap();
            return self.outputs(ledger);
        }
        if !std::mem::take(&mut self.wants_token) {
            return;
        }
        match rng.u8(..4) {
            0 => self.handle(Input::Token(None), ledger),
            1 => {}
            _ => self.handle(Input::Token(Some(token.into())), ledger),
        }
    }

    /// Closes the connection from the server's side, because the token has expired.
    pub(super) async fn expire(&mut self, ledger: &mut Ledger) {
        if let Some(net) = self.net.take() {
            net.pipe.break_off();
            net.driver.await.unwrap();
            self.refused.clone_from(&self.shown);
            let (code, reason) = (Some(4401), String::new());
            self.handle(Input::Lost(Loss::Closed { code, reason }), ledger);
        }
    }

    /// Breaks the connection. Messages that have arrived at the server stay there.
    pub(super) async fn cut(&mut self, told: bool, ledger: &mut Ledger) {
        let Some(net) = &mut self.net else { return };
        trace(|| format!("client {} is cut, told: {told}", self.number));
        net.pipe.break_off();
        if !told {
            net.stalled = true;
            return;
        }
        if let Some(net) = self.net.take() {
            net.driver.await.unwrap();
        }
        let loss = Loss::Closed {
            code: None,
            reason: String::new(),
        };
        self.handle(Input::Lost(loss), ledger);
    }

    pub(super) async fn deliver(&mut self, count: usize) {
        let Some(net) = self.net.as_mut().filter(|net| !net.stalled) else {
            return;
        };
        // Behave like a transport: complete all requested work before reading more.
        // Handle all messages of one read together.
        if net.connection.is_backed_up() {
            return;
        }
        for _ in 0..count {
            let Some(text) = net.to_server.pop_front() else {
                return;
            };
            net.connection.receive(&text).await;
        }
    }

    pub(super) fn receive(&mut self, count: usize, ledger: &mut Ledger) -> bool {
        let Some(net) = self.net.as_mut().filter(|net| !net.stalled) else {
            return false;
        };
        let bytes = net.pipe.take(count);
        for line in net.reader.take(&bytes) {
            let message = ServerMessage::decode(&line).expect("a message of the server");
            self.handle(Input::Message(Box::new(message)), ledger);
        }
        !bytes.is_empty()
    }

    pub(super) fn publish(&mut self, rng: &mut Rng, ledger: &mut Ledger) {
        for _ in 0..rng.usize(1..12) {
            let task = TaskId::new(TASKS[rng.usize(..TASKS.len())]).unwrap();
            let id = ledger.next_id();
            let event = random_event(rng).with_event_id(id.clone());
            match self.state.publish(task.clone(), event, false) {
                Ok(request) => drop(self.waiting.insert(request, (task, id))),
                Err(ReceiptError::TooLarge { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.outputs(ledger);
    }

    pub(super) fn watch(&mut self, rng: &mut Rng, ledger: &mut Ledger) {
        if self.watches.len() >= 4 {
            let id = *self.watches.keys().nth(rng.usize(..4)).unwrap();
            self.watches.remove(&id);
            self.state.unwatch(id);
            return self.outputs(ledger);
        }
        let task = TaskId::new(TASKS[rng.usize(..TASKS.len())]).unwrap();
        let target = match rng.bool() {
            true => Target::Task(task.clone()),
            false => Target::Pattern(PATTERNS[rng.usize(..PATTERNS.len())].parse().unwrap()),
        };
        let known = self.watches.values().find_map(|watch| {
            let followed = watch.tasks.get(&task)?;
            let epoch = followed.state.state()?.epoch.clone();
            let offset = followed.checker.expected()? - 1;
            Some(Position::new(epoch, offset.to_string().parse().ok()?))
        });
        let start = match (rng.u8(..5), known) {
            (0, _) => Start::Retained,
            (1, _) => Start::History(rng.u32(..20)),
            (2, Some(position)) if matches!(target, Target::Task(_)) => Start::After(position),
            _ => Start::Live,
        };
        trace(|| format!("client {} watches {target} {start:?}", self.number));
        let id = self.state.watch(&target, start.clone(), Instant::now());
        let watch = SimWatch {
            target,
            start,
            tasks: BTreeMap::new(),
            connected: true,
        };
        self.watches.insert(id, watch);
        self.outputs(ledger);
    }

    /// Lets the program take some of its updates.
    pub(super) fn take(&mut self, count: usize, ledger: &mut Ledger) -> bool {
        let mut moved = false;
        for (id, watch) in &mut self.watches {
            for _ in 0..count {
                let Some(taken) = self.state.take(*id, Instant::now()) else {
                    break;
                };
                let update = taken
                    .expect("no watch ends here")
                    .expect("nor with an error");
                trace(|| {
                    format!(
                        "watch {id:?} of {} {:.300}",
                        watch.target,
                        format!("{update:?}")
                    )
                });
                watch.check(&update, ledger);
                moved = true;
            }
        }
        self.outputs(ledger);
        moved
    }
}
