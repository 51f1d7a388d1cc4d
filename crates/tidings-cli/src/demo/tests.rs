//! Tests the simulated tasks on a bus without a server, with a paused clock.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tidings_bus::{BusConfig, Delivery, EventBus, Filter, PublishError};
use tidings_client::protocol::{CommandRequested, EventType, NewEvent, TaskId, TaskStatus};
use tokio::time::{Instant, timeout};

use super::*;

/// The time limit of each wait, in simulated time.
const DEADLINE: Duration = Duration::from_secs(120);

struct OnBus(EventBus);

#[async_trait]
impl Stage for OnBus {
    async fn publish(&self, task: &TaskId, event: NewEvent) -> Result<(), StageError> {
        match self.0.publish(task, event).await {
            Ok(_) => Ok(()),
            Err(PublishError::Closed) => Err(StageError::Closed),
            Err(error) => Err(StageError::Refused(error.into())),
        }
    }

    fn commands(&self, task: &TaskId) -> BoxStream<'static, CommandRequested> {
        let requests = Filter::from(task).event_types([EventType::CommandRequested]);
        stream::unfold(self.0.subscribe(requests), async |mut requests| {
            loop {
                if let Delivery::Event(event) = requests.recv().await? {
                    let request = event.data().deserialize().unwrap();
                    return Some((request, requests));
                }
            }
        })
        .boxed()
    }
}

fn stage(bus: &EventBus) -> Arc<dyn Stage> {
    Arc::new(OnBus(bus.clone()))
}

fn bus() -> EventBus {
    EventBus::new(BusConfig::default()).unwrap()
}

fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn once_runs_every_task_to_its_end_and_stops() {
    let (bus, stop) = (bus(), CancellationToken::new());
    timeout(DEADLINE, simulate(stage(&bus), Length::Once, stop.clone()))
        .await
        .unwrap();

    assert!(stop.is_cancelled());
    let tasks = bus.list("", None, None, 100);
    assert_eq!(tasks.len(), 43);
    for task in tasks {
        let expected = match task.task_id.as_str() {
            "build_main" => TaskStatus::Failed,
            _ => TaskStatus::Completed,
        };
        assert_eq!(task.status, expected, "{}", task.task_id);
        assert_eq!(task.run, 1, "{}", task.task_id);
    }
}

#[tokio::test(start_paused = true)]
async fn test_001_reports_every_fifth_of_its_work_two_seconds_apart() {
    let bus = bus();
    let mut updates =
        bus.subscribe(Filter::task(id("test_001")).event_types([EventType::ProgressUpdate]));
    let started = Instant::now();
    let playing = tokio::spawn(play::play(stage(&bus), Scenario::Classic, Length::Once));
    for (percent, seconds) in [(20, 2), (40, 4), (60, 6), (80, 8), (100, 10)] {
        let Some(Delivery::Event(event)) = timeout(DEADLINE, updates.recv()).await.unwrap() else {
            panic!("no event");
        };
        assert_eq!(event.data().get()["progress"], percent);
        assert_eq!(started.elapsed().as_secs(), seconds);
    }
    timeout(DEADLINE, playing).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn endless_starts_over_with_a_new_run() {
    let (bus, stop) = (bus(), CancellationToken::new());
    let mut starts =
        bus.subscribe(Filter::task(id("test_001")).event_types([EventType::TaskStarted]));
    let simulation = tokio::spawn(simulate(stage(&bus), Length::Endless, stop.clone()));
    for run in 1..=3 {
        timeout(DEADLINE, starts.recv()).await.unwrap().unwrap();
        assert_eq!(bus.snapshot(&id("test_001")).unwrap().run, run);
    }
    stop.cancel();
    timeout(DEADLINE, simulation).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_simulated_task_obeys_cancel_and_rejects_the_rest() {
    let (bus, task) = (bus(), id("test_001"));
    let mut answers = bus.subscribe(Filter::task(task.clone()).event_types([
        EventType::TaskStarted,
        EventType::CommandAccepted,
        EventType::CommandRejected,
        EventType::CommandCompleted,
        EventType::TaskCancelled,
    ]));
    let playing = tokio::spawn(play::play(stage(&bus), Scenario::Classic, Length::Endless));

    let mut seen = Vec::new();
    // Before the end and after it, no run is active.
    for command in [None, Some("pause"), Some("cancel"), Some("cancel")] {
        if let Some(command) = command {
            let request = NewEvent::command_requested("c", command, None, "a test");
            bus.publish(&task, request).await.unwrap();
        }
        let answers_to_it = if seen.len() == 2 { 3 } else { 1 };
        for _ in 0..answers_to_it {
            let Some(Delivery::Event(event)) = timeout(DEADLINE, answers.recv()).await.unwrap()
            else {
                panic!("no event");
            };
            seen.push(event.event_type().to_string());
        }
    }
    assert_eq!(
        seen,
        [
            "task_started",
            "command_rejected",
            "command_accepted",
            "task_cancelled",
            "command_completed",
            "command_rejected",
        ]
    );
    playing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_disturbed_run_starts_over() {
    let (bus, task) = (bus(), id("test_001"));
    bus.publish(&task, NewEvent::task_started("Someone else's"))
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let mut ends = bus.subscribe(Filter::task(task).event_types([EventType::TaskCompleted]));
    let simulation = tokio::spawn(simulate(stage(&bus), Length::Endless, stop.clone()));
    assert!(timeout(DEADLINE, ends.recv()).await.unwrap().is_some());
    stop.cancel();
    timeout(DEADLINE, simulation).await.unwrap().unwrap();
}
