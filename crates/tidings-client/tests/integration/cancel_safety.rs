//! The promises under `# Cancel safety`: each future is dropped at each of its awaits.
//!
//! A line `Covers:` names the functions that a test covers.

use std::fmt::Debug;
use std::time::Duration;

use tidings_client::protocol::{
    ClientId, Data, EventId, EventType, InputRequired, ItemId, Json, NewEvent, TaskId, TaskStatus,
};
use tidings_client::{Client, EventQuery, TaskQuery, Update};
use tidings_testkit::{
    DEADLINE, TestConfig, TestServer, drop_after, drop_at_each_await, eventually,
};

fn task(id: &str) -> TaskId {
    id.parse().unwrap()
}

fn item(id: &str) -> ItemId {
    id.parse().unwrap()
}

async fn server() -> (TestServer, Client) {
    let server = TestServer::start(TestConfig::default()).await;
    let client = client(&server).await;
    (server, client)
}

async fn client(server: &TestServer) -> Client {
    let client = Client::connect(format!("http://{}", server.addr())).await;
    client.unwrap()
}

/// Fills the server: `t` has ended, and `q` waits for an answer.
async fn fill(server: &TestServer) {
    let bus = server.bus();
    bus.task_started(&task("t"), "work").await.unwrap();
    bus.task_completed(&task("t"), None).await.unwrap();
    bus.task_started(&task("q"), "work").await.unwrap();
    let question = InputRequired::new(item("q"), "Deploy?");
    bus.publish(&task("q"), NewEvent::asked(&question))
        .await
        .unwrap();
}

/// Drops a call at each of its awaits. The next call must have the same answer.
async fn has_no_effect<T: Debug>(client: &Client, call: impl AsyncFn(&Client) -> T) {
    let expected = format!("{:?}", call(client).await);
    drop_at_each_await(async |polls| {
        let done = drop_after(polls, call(client)).await.is_some();
        assert_eq!(
            format!("{:?}", call(client).await),
            expected,
            "{polls} polls"
        );
        done
    })
    .await;
}

/// Covers: find, history, tasks, connections
#[tokio::test]
async fn a_dropped_request_has_no_effect() {
    let (server, client) = server().await;
    fill(&server).await;
    has_no_effect(&client, async |client| {
        client.find(&task("t")).await.unwrap()
    })
    .await;
    has_no_effect(&client, async |client| {
        let page = client.history(&task("t"), &EventQuery::default()).await;
        page.unwrap().events
    })
    .await;
    has_no_effect(&client, async |client| {
        client.tasks(&TaskQuery::default()).await.unwrap().tasks
    })
    .await;
    has_no_effect(&client, async |client| {
        let connected = client.connections(None).await.unwrap();
        connected
            .into_iter()
            .map(|client| client.client_id)
            .collect::<Vec<_>>()
    })
    .await;
}

/// Covers: wait, snapshot, connected, flush, input_outcome
#[tokio::test]
async fn a_dropped_wait_has_no_effect() {
    let (server, client) = server().await;
    fill(&server).await;
    has_no_effect(&client, async |client| {
        client.wait(&task("t")).await.unwrap()
    })
    .await;
    has_no_effect(&client, async |client| {
        client.snapshot(&task("t")).await.unwrap()
    })
    .await;
    has_no_effect(&client, async |client| client.connected().await.unwrap()).await;
    has_no_effect(&client, async |client| client.flush(DEADLINE).await).await;
    let yes = Json::parse("\"yes\"").unwrap();
    let bus = server.bus();
    bus.answer(&task("q"), &item("q"), &yes, "ada")
        .await
        .unwrap();
    has_no_effect(&client, async |client| {
        client.input_outcome(&task("q"), &item("q")).await.unwrap()
    })
    .await;
}

/// Covers: publish, queue
#[tokio::test]
async fn a_dropped_publish_is_sent_once_or_not_at_all() {
    let (server, client) = server().await;
    for queued in [false, true] {
        drop_at_each_await(async |polls| {
            let id = task(&format!("t-{queued}-{polls}"));
            let event = || NewEvent::log("once").with_event_id(EventId::new("a").unwrap());
            let done = match queued {
                false => drop_after(polls, client.publish(&id, event()))
                    .await
                    .is_some(),
                true => drop_after(polls, client.queue(&id, event()))
                    .await
                    .is_some(),
            };
            if queued && !done {
                client.flush(DEADLINE).await;
                assert!(server.bus().snapshot(&id).is_none(), "nothing is published");
            }
            let published = client.publish(&id, event()).await.unwrap();
            assert_eq!(published.offset.get(), 1, "{polls} polls");
            assert!(published.duplicate || !done);
            done
        })
        .await;
    }
}

/// Covers: answer, command, command_tree
#[tokio::test]
async fn a_dropped_request_to_a_task_is_sent_once_or_not_at_all() {
    let (server, client) = server().await;
    for kind in ["answer", "command", "command_tree"] {
        drop_at_each_await(async |polls| {
            let id = task(&format!("{kind}-{polls}"));
            let bus = server.bus();
            bus.task_started(&id, "work").await.unwrap();
            let question = InputRequired::new(item("q"), "Deploy?");
            bus.publish(&id, NewEvent::asked(&question)).await.unwrap();
            let yes = Json::parse("\"yes\"").unwrap();
            let done = match kind {
                "answer" => {
                    let question = item("q");
                    let answer = client.answer(&id, &question, yes);
                    drop_after(polls, answer).await.is_some()
                }
                "command" => {
                    let command = client.command(&id, "pause", None);
                    drop_after(polls, command).await.is_some()
                }
                _ => {
                    let command = client.command_tree(&id, "pause", None);
                    drop_after(polls, command).await.is_some()
                }
            };
            // Everything that the client sent before is decided when this is.
            client.publish(&id, NewEvent::log("after")).await.unwrap();
            let head = bus.snapshot(&id).unwrap().offset.get();
            assert!(
                head == 4 || !done && head == 3,
                "{kind}, {polls} polls: {head}"
            );
            done
        })
        .await;
    }
}

/// Covers: remove, kick, send_personal
#[tokio::test]
async fn a_dropped_change_can_be_repeated() {
    let (server, client) = server().await;
    drop_at_each_await(async |polls| {
        let id = task(&format!("t-{polls}"));
        server.bus().task_started(&id, "work").await.unwrap();
        let done = drop_after(polls, client.remove(&id)).await.is_some();
        let again = client.remove(&id).await;
        assert!(again.is_ok() || polls > 0, "{again:?}");
        assert!(server.bus().snapshot(&id).is_none());
        done
    })
    .await;
    drop_at_each_await(async |polls| {
        let unknown: ClientId = "nobody".parse().unwrap();
        let event_type: EventType = "note".parse().unwrap();
        let nothing = Data::empty();
        let send = client.send_personal(&unknown, &event_type, &nothing);
        let sent = drop_after(polls, send).await.is_some();
        let kicked = drop_after(polls, client.kick(&unknown)).await.is_some();
        // The client goes on.
        client
            .publish(&task("t"), NewEvent::log("on"))
            .await
            .unwrap();
        sent && kicked
    })
    .await;
}

/// Covers: recv
#[tokio::test]
async fn a_dropped_recv_loses_no_update() {
    const HEAD: u64 = 20;
    let (server, client) = server().await;
    server.bus().task_started(&task("t"), "work").await.unwrap();
    let mut watch = client.watch(task("t"));
    let state = watch.recv().await.unwrap();
    assert!(matches!(state, Some(Update::Snapshot(_))), "{state:?}");
    let (mut seen, mut polls) = (Vec::new(), 0);
    while seen.last() != Some(&HEAD) {
        polls += 1;
        if polls < HEAD {
            let event = NewEvent::progress(1.0, polls.to_string().as_str());
            server.bus().publish(&task("t"), event).await.unwrap();
        }
        let limited = drop_after(usize::try_from(polls % 4).unwrap(), watch.recv());
        match tokio::time::timeout(Duration::from_millis(20), limited).await {
            Ok(Some(update)) => match update.unwrap().expect("no end") {
                Update::Event(event) => seen.push(event.offset.get()),
                other => panic!("{other:?} after {seen:?}"),
            },
            Ok(None) | Err(_) => tokio::task::yield_now().await,
        }
    }
    assert_eq!(seen, (2..=HEAD).collect::<Vec<_>>());
}

/// Covers: run
#[tokio::test]
async fn work_that_is_dropped_has_failed() {
    let (server, client) = server().await;
    drop_at_each_await(async |polls| {
        let id = format!("t-{polls}");
        let work = client.run(id.as_str(), |_| async {
            tokio::task::yield_now().await;
            Ok(())
        });
        let done = drop_after(polls, work).await.is_some();
        client.flush(DEADLINE).await;
        let status = || server.bus().snapshot(&task(&id)).map(|state| state.status);
        if done {
            assert_eq!(status(), Some(TaskStatus::Completed));
        } else {
            eventually("the task does not run", || {
                status() != Some(TaskStatus::Running)
            })
            .await;
        }
        done
    })
    .await;
}

/// Covers: connect, close
#[tokio::test]
async fn a_client_that_is_dropped_on_its_way_is_gone() {
    let server = TestServer::start(TestConfig::default()).await;
    let gone = async || {
        eventually("the connection is closed", || {
            server.manager().stats().connected == 0
        })
        .await;
    };
    drop_at_each_await(async |polls| {
        let url = format!("http://{}", server.addr());
        let done = drop_after(polls, Client::connect(url)).await.is_some();
        gone().await;
        done
    })
    .await;
    drop_at_each_await(async |polls| {
        let client = client(&server).await;
        let done = drop_after(polls, client.close(DEADLINE)).await.is_some();
        gone().await;
        done
    })
    .await;
}
