//! How a service that uses Tidings is tested: over a bus alone, and over a whole
//! server in the same process. `docs/guides/testing.md` explains it.

use tidings::node::Options;
use tidings::{BusConfig, Client, EventBus, NewEvent, Node, NodeConfig};
use tidings::{PublishError, TaskId, TaskStatus};
use tokio_util::sync::CancellationToken;

/// The code under test: it renders and reports to the bus.
async fn render(bus: &EventBus, task: &TaskId) -> Result<(), PublishError> {
    bus.publish(task, NewEvent::task_started("Render")).await?;
    bus.publish(task, NewEvent::progress(40.0, "lighting"))
        .await?;
    bus.publish(task, NewEvent::task_completed(None)).await?;
    Ok(())
}

#[tokio::test]
async fn a_render_reports_its_end() {
    let bus = EventBus::new(BusConfig::default()).expect("a bus");
    let task: TaskId = "render-7".parse().expect("a task id");

    render(&bus, &task).await.expect("the events are accepted");

    let state = bus.snapshot(&task).expect("the task exists");
    assert_eq!(state.status, TaskStatus::Completed);
    assert_eq!(state.offset.get(), 3);
}

#[tokio::test]
async fn a_watcher_of_the_server_sees_the_end() {
    let mut options = Options::default();
    options.set("listen", "127.0.0.1:0").expect("an option");
    let config = NodeConfig::load(options).expect("a configuration");
    let node = Node::start(config).await.expect("the node starts");
    let (bus, url) = (node.bus().clone(), node.url());
    let stop = CancellationToken::new();
    let running = tokio::spawn(node.run(stop.clone()));

    let client = Client::connect(url).await.expect("the server answers");
    let task: TaskId = "render-7".parse().expect("a task id");
    let mut watch = client.watch(&task);
    render(&bus, &task).await.expect("the events are accepted");
    while watch
        .state(&task)
        .is_none_or(|state| state.status != TaskStatus::Completed)
    {
        watch.recv().await.expect("the watch goes on");
    }

    drop((watch, client));
    stop.cancel();
    running.await.expect("the node stops");
}
