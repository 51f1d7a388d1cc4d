//! Nodes, publishers and watchers, and the faults that hit them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tidings_bus::protocol::{
    AgentStatus, Epoch, EventId, EventType, Json, NewEvent, Position, Since, TaskId, TaskSnapshot,
    Timestamp,
};
use tidings_bus::{
    Announcement, Broker, BrokerError, BusConfig, Clock, EventBus, Filter, Interest, Kin, Notice,
    PublishError, Sums,
};
use tidings_redis::{Redis as Link, RedisConfig};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::deployment::Redis;
use super::record::{Acknowledged, Places, Watched};

const TASKS: usize = 3;
const PUBLISHERS: usize = 4;
/// The id of every question.
const QUESTION: &str = "sure";

/// The number of children of each task, for each publisher.
const CHILDREN: usize = 4;
const WATCHERS_A_TASK: usize = 3;

/// The longest time for everything to settle after the last fault.
const SETTLE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// A node stops at once, and another starts a little later.
    KillNode,
    /// Each node in turn stops in an orderly way and starts again.
    RollNodes,
    /// Redis stops at once, and starts with the data on its disk.
    Restart,
    Flush,
    /// Redis pauses for a while.
    Pause,
    /// Redis cuts all connections.
    CutConnections,
    /// Some messages of Redis do not arrive.
    DropMessages,
    /// Another server takes over.
    FailOver,
}

/// The result of a run.
pub(crate) struct Report {
    pub(crate) tasks: usize,
    /// The number of epochs that watchers saw, over all tasks.
    pub(crate) epochs: usize,
}

/// A clock that is wrong by this amount.
struct Skewed(i64);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let now = SystemTime::now();
        let skew = Duration::from_secs(self.0.unsigned_abs());
        Timestamp::from(if self.0 < 0 { now - skew } else { now + skew })
    }
}

/// A broker that loses messages on request.
struct Lossy {
    inner: Arc<dyn Broker>,
    lossy: Arc<AtomicBool>,
}

#[async_trait]
impl Broker for Lossy {
    async fn announce(&self, announcement: Announcement) -> Result<(), BrokerError> {
        self.inner.announce(announcement).await
    }

    fn notices(&self) -> mpsc::Receiver<Notice> {
        let mut from = self.inner.notices();
        let lossy = Arc::clone(&self.lossy);
        let (to, receiver) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Some(notice) = from.recv().await {
                let dropped = matches!(notice, Notice::Event { .. })
                    && lossy.load(Ordering::Relaxed)
                    && fastrand::u8(..3) == 0;
                if !dropped && to.send(notice).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    fn interest(&self) -> Option<Arc<dyn Interest>> {
        self.inner.interest()
    }
}

/// One node, on its own threads.
struct Node {
    bus: EventBus,
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
    dead: CancellationToken,
}

impl Node {
    async fn start(url: &str, skew: i64, lossy: Arc<AtomicBool>) -> Arc<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let url = url.parse().unwrap();
        let starting = runtime.spawn(async move {
            let redis = Link::start(RedisConfig::new(url).wait(Duration::from_secs(1)));
            redis.wait(tidings_testkit::DEADLINE).await;
            let broker = Lossy {
                inner: redis.broker(),
                lossy,
            };
            let config = BusConfig::default()
                .clock(Arc::new(Skewed(skew)))
                .broker(Some(Arc::new(broker)));
            let bus = EventBus::open(config, redis.store()).await.unwrap();
            // The links live as long as the runtime does.
            tokio::spawn(async move {
                let _redis = redis;
                std::future::pending::<()>().await;
            });
            bus
        });
        Arc::new(Self {
            bus: starting.await.unwrap(),
            runtime: Mutex::new(Some(runtime)),
            dead: CancellationToken::new(),
        })
    }

    /// Stops all work of the node at once.
    fn kill(&self) {
        self.dead.cancel();
        if let Some(runtime) = self.runtime.lock().unwrap().take() {
            runtime.shutdown_background();
        }
    }
}

/// All nodes, publishers and watchers of a run.
pub(crate) struct World {
    redis: Arc<dyn Redis>,
    nodes: Arc<RwLock<Vec<Arc<Node>>>>,
    lossy: Arc<AtomicBool>,
    tasks: Vec<TaskId>,
    places: Arc<Places>,
    published: Arc<Mutex<Vec<Acknowledged>>>,
    /// The tasks that have asked a question.
    asked: Mutex<Vec<TaskId>>,
    /// The answers that a node has accepted: the task, and the epoch of its log.
    answers: Mutex<Vec<(TaskId, Epoch)>>,
    watched: Vec<Arc<Mutex<Watched>>>,
    stop_publishing: CancellationToken,
    stop_watching: CancellationToken,
    tries: Arc<AtomicU64>,
}

impl World {
    pub(crate) async fn start(redis: impl Redis, nodes: usize) -> Self {
        let seed = std::env::var("TIDINGS_SEED").ok();
        let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
        #[allow(clippy::print_stdout, reason = "a failure without its seed is lost")]
        {
            println!("TIDINGS_SEED={seed}");
        }
        fastrand::seed(seed);
        let lossy = Arc::new(AtomicBool::new(false));
        let mut started = Vec::new();
        for _ in 0..nodes {
            started.push(Node::start(&redis.url(), skew(), Arc::clone(&lossy)).await);
        }
        let tasks: Vec<TaskId> = (0..TASKS)
            .map(|n| format!("task-{n}").parse().unwrap())
            .collect();
        let watched = tasks
            .iter()
            .cycle()
            .take(TASKS * WATCHERS_A_TASK)
            .map(|task| Arc::new(Mutex::new(Watched::new(task.clone()))))
            .collect();
        Self {
            redis: Arc::new(redis),
            nodes: Arc::new(RwLock::new(started)),
            lossy,
            tasks,
            places: Arc::default(),
            published: Arc::default(),
            asked: Mutex::default(),
            answers: Mutex::default(),
            watched,
            stop_publishing: CancellationToken::new(),
            stop_watching: CancellationToken::new(),
            tries: Arc::default(),
        }
    }

    fn any_node(nodes: &RwLock<Vec<Arc<Node>>>) -> Arc<Node> {
        let nodes = nodes.read().unwrap();
        Arc::clone(&nodes[fastrand::usize(..nodes.len())])
    }

    /// Changes a child of a task, until a node has answered.
    async fn change_child(&self, number: usize) {
        let at = fastrand::usize(..self.tasks.len());
        let child = format!("child-{number}-{at}-{}", fastrand::usize(..CHILDREN));
        let child: TaskId = child.parse().unwrap();
        let id = EventId::new(format!("c{}", fastrand::u64(..))).unwrap();
        let event = match fastrand::u8(..6) {
            0 => NewEvent::task_completed(None),
            1..3 => NewEvent::progress(f64::from(fastrand::u8(..=100)), None),
            _ => NewEvent::subtask_started("part", &self.tasks[at]),
        };
        while !self.stop_publishing.is_cancelled() {
            let node = Self::any_node(&self.nodes);
            match node
                .bus
                .publish(&child, event.clone().with_event_id(id.clone()))
                .await
            {
                Err(PublishError::Unavailable(_) | PublishError::Closed) => {}
                // A refused event changes nothing.
                _ => return,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has a new task ask a question, and answers the question on several nodes at once.
    async fn ask_and_answer(&self, number: usize, n: u64) {
        let task: TaskId = format!("ask-{number}-{n}").parse().unwrap();
        let id = EventId::new("asked").unwrap();
        let question = NewEvent::input_required(QUESTION, "Sure?", None).with_event_id(id);
        while !self.stop_publishing.is_cancelled() {
            let node = Self::any_node(&self.nodes);
            if node.bus.publish(&task, question.clone()).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.asked.lock().unwrap().push(task.clone());
        let (input, value) = (QUESTION.parse().unwrap(), Json::parse("true").unwrap());
        let answers = ["ann", "bob", "eve"].map(|by| {
            let (node, task, input, value) = (Self::any_node(&self.nodes), &task, &input, &value);
            async move {
                tokio::select! {
                    answered = node.bus.answer(task, input, value, by) => answered.ok(),
                    () = node.dead.cancelled() => None,
                }
            }
        });
        // A refused answer changes nothing. One without a confirmation may have been accepted.
        let answers = futures_util::future::join_all(answers).await;
        let accepted = answers.into_iter().flatten();
        let accepted = accepted.map(|published| (task.clone(), published.epoch));
        self.answers.lock().unwrap().extend(accepted);
    }

    /// Checks that no question has two answers in one log.
    async fn check_answers(&self) {
        let answers = self.answers.lock().unwrap().clone();
        let count = answers.len();
        let different: HashSet<_> = answers.into_iter().collect();
        assert_eq!(different.len(), count, "a question was answered twice");
        let asked = self.asked.lock().unwrap().clone();
        for task in &asked {
            let node = Self::any_node(&self.nodes);
            let _ = node.bus.fetch(task, None).await;
            let Some(page) = node.bus.history(task, None, 99).await else {
                continue;
            };
            let provided = page.events.iter();
            let provided = provided.filter(|event| *event.event_type() == EventType::InputProvided);
            assert!(provided.count() <= 1, "{task} has two answers");
        }
        #[allow(clippy::print_stdout, reason = "the summary is what the suite is for")]
        {
            println!("questions {}, answered {count}", asked.len());
        }
    }

    /// Compares a task's view of its children with each child.
    async fn shows_its_children(&self, task: &TaskSnapshot) -> Result<(), String> {
        let node = Self::any_node(&self.nodes);
        let all = node.bus.find_all("child-", None, None, usize::MAX).await;
        let all = all.map_err(|error| error.to_string())?;
        let mut sums = Sums::default();
        let kin = all.iter().filter_map(|child| Kin::of(child));
        kin.filter(|kin| kin.parent == task.task_id)
            .for_each(|kin| sums.add(&kin));
        let said = task.children.as_ref().map(|said| {
            let ended = [said.completed, said.failed, said.cancelled];
            let [completed, failed, cancelled] = ended;
            let counts = [said.pending, said.running, completed, failed, cancelled];
            (counts, said.progress)
        });
        let are = (sums.total() > 0).then(|| (sums.counts, sums.progress()));
        match said == are {
            true => Ok(()),
            false => Err(format!("{} says {said:?}, not {are:?}", task.task_id)),
        }
    }

    async fn publish(&self, number: usize) {
        for n in 0_u64.. {
            if self.stop_publishing.is_cancelled() {
                return;
            }
            if fastrand::u8(..4) == 0 {
                self.change_child(number).await;
            }
            if fastrand::u8(..16) == 0 {
                self.ask_and_answer(number, n).await;
            }
            let mut events: Vec<_> = (0..fastrand::usize(1..=4))
                .map(|at| {
                    let task = &self.tasks[fastrand::usize(..self.tasks.len())];
                    (task.clone(), format!("{number}-{n}-{at}"))
                })
                .collect();
            loop {
                let node = Self::any_node(&self.nodes);
                self.tries.fetch_add(events.len() as u64, Ordering::Relaxed);
                let batch = events.iter().map(|(task, id)| {
                    let event = match id.len() % 2 {
                        0 => NewEvent::agent_status("agent", AgentStatus::Working, id.as_str()),
                        _ => NewEvent::output_delta("output", id),
                    };
                    (task.clone(), event.with_event_id(EventId::new(id).unwrap()))
                });
                let answers = node.bus.publish_batch(batch.collect()).await;
                let mut refused = Vec::new();
                for ((task, id), answer) in events.into_iter().zip(answers) {
                    match answer {
                        Ok(published) => self.published.lock().unwrap().push(Acknowledged {
                            task,
                            id,
                            position: Position::new(published.epoch, published.offset),
                        }),
                        Err(_) => refused.push((task, id)),
                    }
                }
                if refused.is_empty() {
                    break;
                }
                events = refused;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(1..8))).await;
        }
    }

    async fn watch(&self, watched: &Mutex<Watched>, task: &TaskId) {
        while !self.stop_watching.is_cancelled() {
            let node = Self::any_node(&self.nodes);
            let position = watched.lock().unwrap().position.clone();
            let since = position.map_or(Since::Start, Since::After);
            let fetched = tokio::select! {
                fetched = node.bus.fetch(task, Some(&since)) => fetched.is_ok(),
                () = node.dead.cancelled() => false,
            };
            if !fetched {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            let mut subscription = node.bus.subscribe(Filter::task(task.clone()).since(since));
            let standing = subscription.standing().unwrap().snapshot.clone();
            watched.lock().unwrap().subscribes(&standing.unwrap());
            // Some watchers move without a fault, as clients do.
            let moves = tokio::time::sleep(Duration::from_millis(fastrand::u64(500..8_000)));
            tokio::pin!(moves);
            loop {
                tokio::select! {
                    delivery = subscription.recv() => match delivery {
                        Some(delivery) => watched.lock().unwrap().take(delivery, &self.places),
                        None => break,
                    },
                    () = node.dead.cancelled() => break,
                    () = &mut moves => break,
                    () = self.stop_watching.cancelled() => return,
                }
            }
        }
    }

    async fn replace(&self, at: usize) {
        let node = Node::start(&self.redis.url(), skew(), Arc::clone(&self.lossy)).await;
        self.nodes.write().unwrap()[at] = node;
    }

    async fn befall(&self, fault: Fault) {
        let pause = Duration::from_millis(fastrand::u64(100..1_500));
        let at = fastrand::usize(..self.nodes.read().unwrap().len());
        match fault {
            Fault::KillNode => {
                let node = Arc::clone(&self.nodes.read().unwrap()[at]);
                node.kill();
                tokio::time::sleep(pause).await;
                self.replace(at).await;
            }
            Fault::RollNodes => {
                let count = self.nodes.read().unwrap().len();
                for at in 0..count {
                    let node = Arc::clone(&self.nodes.read().unwrap()[at]);
                    node.bus.shutdown().await;
                    node.kill();
                    self.replace(at).await;
                }
            }
            Fault::Restart => self.to_redis(|redis| redis.restart()).await,
            Fault::FailOver => self.to_redis(|redis| redis.fail_over()).await,
            Fault::Flush => {
                self.redis.servers(&mut |server| {
                    server.command("FLUSHALL").unwrap();
                });
            }
            Fault::Pause => {
                self.redis.servers(&mut |server| server.pause());
                // Longer than the waiting time of commands, or shorter.
                tokio::time::sleep(pause * fastrand::u32(1..4)).await;
                self.redis.servers(&mut |server| server.resume());
            }
            Fault::CutConnections => {
                let kinds = ["normal", "pubsub"];
                let kind = kinds[fastrand::usize(..2)];
                self.redis.servers(&mut |server| {
                    server.command(&format!("CLIENT KILL TYPE {kind}")).unwrap();
                });
            }
            Fault::DropMessages => {
                self.lossy.store(true, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
                self.lossy.store(false, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(pause).await;
    }

    async fn to_redis(&self, what: impl FnOnce(&dyn Redis) + Send + 'static) {
        let redis = Arc::clone(&self.redis);
        tokio::task::spawn_blocking(move || what(redis.as_ref()))
            .await
            .unwrap();
    }

    /// Runs with these faults for this long, and prints the result.
    ///
    /// # Panics
    /// Panics if an event was lost or duplicated, or if the record contradicts itself.
    pub(crate) async fn run(self, name: &str, faults: &[Fault], time: Duration) -> Report {
        let world = Arc::new(self);
        let mut publishers = tokio::task::JoinSet::new();
        for number in 0..PUBLISHERS {
            let world = Arc::clone(&world);
            publishers.spawn(async move { world.publish(number).await });
        }
        let mut watchers = tokio::task::JoinSet::new();
        for (n, watched) in world.watched.iter().enumerate() {
            let (world, watched) = (Arc::clone(&world), Arc::clone(watched));
            watchers.spawn(async move {
                let task = world.tasks[n % TASKS].clone();
                world.watch(&watched, &task).await;
            });
        }
        // A fault shows nothing without an affected watcher.
        tidings_testkit::eventually("every watcher has seen something", || {
            let mut all = world.watched.iter();
            all.all(|watched| watched.lock().unwrap().delivered > 10)
        })
        .await;
        let started = tokio::time::Instant::now();
        let mut count = 0;
        // Make each fault at least once.
        while started.elapsed() < time || count < faults.len() {
            let fault = faults.get(count).copied();
            let fault = fault.unwrap_or_else(|| faults[fastrand::usize(..faults.len())]);
            world.befall(fault).await;
            count += 1;
            if let Some(ended) = watchers.try_join_next() {
                ended.unwrap();
            }
        }
        world.stop_publishing.cancel();
        let publishing = async {
            while let Some(ended) = publishers.join_next().await {
                ended.unwrap();
            }
        };
        let published = tokio::time::timeout(SETTLE, publishing).await;
        published.expect("every publish is answered in the end");
        world.settle(&mut watchers).await;
        world.check_answers().await;
        world.stop_watching.cancel();
        while let Some(ended) = watchers.join_next().await {
            ended.unwrap();
        }
        world.report(name, count)
    }

    /// Waits until every watcher is at the head.
    async fn settle(&self, watchers: &mut tokio::task::JoinSet<()>) {
        let deadline = tokio::time::Instant::now() + SETTLE;
        loop {
            if let Some(ended) = watchers.try_join_next() {
                ended.unwrap();
            }
            let mut behind = Vec::new();
            for (n, watched) in self.watched.iter().enumerate() {
                let node = Self::any_node(&self.nodes);
                let task = &self.tasks[n % TASKS];
                let Ok(found) = node.bus.find(task).await else {
                    behind.push(format!("{task} cannot be read"));
                    continue;
                };
                let Some(found) = found else {
                    continue;
                };
                if let Err(differs) = self.shows_its_children(&found).await {
                    behind.push(differs);
                    continue;
                }
                let head = Position::new(found.epoch.clone(), found.offset);
                let watched = watched.lock().unwrap();
                if watched.is_at(&head) {
                    watched.check_state(&found);
                } else {
                    behind.push(format!("{task}: {:?} of {head:?}", watched.position));
                }
            }
            if behind.is_empty() {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "still behind: {behind:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn report(&self, name: &str, faults: usize) -> Report {
        let published = self.published.lock().unwrap();
        let (mut delivered, mut gaps, mut lost, mut doubled) = (0, 0, 0, 0);
        let mut missing = Vec::new();
        for watched in &self.watched {
            let watched = watched.lock().unwrap();
            delivered += watched.delivered;
            gaps += watched.gaps;
            doubled += watched.doubled;
            let of_this = watched.lost(&published);
            lost += of_this.len();
            missing.extend(of_this.into_iter().cloned());
        }
        let epochs = self.places.epochs();
        let tried = self.tries.load(Ordering::Relaxed);
        #[allow(clippy::print_stdout, reason = "the summary is what the suite is for")]
        {
            println!(
                "{name}: faults {faults}, tried {tried}, published {}, delivered {delivered}, \
                 gaps {gaps}, epochs {epochs}, lost {lost}, doubled {doubled}",
                published.len()
            );
        }
        assert!(missing.is_empty(), "lost: {missing:?}");
        assert_eq!(doubled, 0);
        assert!(published.len() > 100, "something was published");
        Report {
            tasks: self.tasks.len(),
            epochs,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for node in self.nodes.read().unwrap().iter() {
            node.kill();
        }
    }
}

/// Returns some minutes, forward or back.
fn skew() -> i64 {
    fastrand::i64(-600..600)
}
