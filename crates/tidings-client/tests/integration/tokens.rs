//! Tests a server that requires tokens: shown, refused and renewed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_client::protocol::{ErrorCode, NewEvent, Pattern, TaskId};
use tidings_client::{Client, ReceiptError, Stopped, Update, WatchError};
use tidings_connections::Principal;
use tidings_testkit::{DEADLINE, TestConfig, TestServer, Tokens, permissions};

async fn server() -> TestServer {
    let ada = Principal::new(permissions("watch build-*, publish build-*")).subject("ada");
    let tokens = Tokens::default().with("good", ada);
    TestServer::start_asking(TestConfig::default(), tokens).await
}

fn url(server: &TestServer) -> String {
    format!("http://{}", server.addr())
}

async fn in_time<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, wait)
        .await
        .expect("an answer in time")
}

#[tokio::test]
async fn a_refused_token_ends_the_client_and_all_that_it_was_to_do() {
    let server = server().await;
    for builder in [
        Client::builder(url(&server)),
        Client::builder(url(&server)).token("bad"),
    ] {
        let client = builder.build().unwrap();
        let task: TaskId = "build-1".parse().unwrap();
        let mut watch = client.watch(&task);
        let stopped = in_time(client.connected()).await.unwrap_err();
        assert_eq!(stopped, Stopped::Unauthenticated);
        let ended = in_time(watch.recv()).await.unwrap_err();
        assert!(
            matches!(ended, WatchError::Stopped(Stopped::Unauthenticated)),
            "{ended}"
        );
        let refused = in_time(client.publish(&task, NewEvent::log("a")))
            .await
            .unwrap_err();
        assert!(matches!(refused, ReceiptError::Stopped(_)), "{refused}");
    }
}

#[tokio::test]
async fn a_source_is_asked_again_when_a_token_was_refused() {
    let server = server().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let client = Client::builder(url(&server)).token_source(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move { Ok(["old", "good"][number.min(1)].to_owned()) }
    });
    let client = client.build().unwrap();
    in_time(client.connected()).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert!(
        !format!("{client:?}").contains("good"),
        "a token is no log's business"
    );
}

#[tokio::test]
async fn what_a_token_does_not_allow_is_refused_and_the_rest_goes_on() {
    let server = server().await;
    let client = Client::builder(url(&server)).token("good").build().unwrap();
    let (build, secret): (TaskId, TaskId) =
        ("build-1".parse().unwrap(), "secret-1".parse().unwrap());
    let mut watch = client.watch(&secret);
    let refused = in_time(watch.recv()).await.unwrap_err();
    let forbidden = matches!(
        refused,
        WatchError::Refused {
            code: ErrorCode::Forbidden,
            ..
        }
    );
    assert!(forbidden, "{refused}");
    let refused = in_time(client.publish(&secret, NewEvent::log("a")))
        .await
        .unwrap_err();
    let forbidden = matches!(
        refused,
        ReceiptError::Refused {
            code: ErrorCode::Forbidden,
            ..
        }
    );
    assert!(forbidden, "{refused}");
    in_time(client.publish(&build, NewEvent::log("a")))
        .await
        .unwrap();
    let mut watch = client.watch(&build);
    assert!(
        in_time(watch.recv())
            .await
            .unwrap()
            .unwrap()
            .snapshot()
            .is_some()
    );
}

#[tokio::test]
async fn a_source_that_panics_is_asked_again() {
    let server = server().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let client = Client::builder(url(&server)).token_source(move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        assert!(number > 1, "the program's own fault");
        async { Ok("good".to_owned()) }
    });
    let client = client.build().unwrap();
    in_time(client.connected()).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_watch_that_a_new_token_does_not_allow_ends_and_says_so() {
    let ada = Principal::new(permissions("watch *")).subject("ada");
    let less = Principal::new(permissions("watch other-*")).subject("ada");
    let tokens = Tokens::default().with("all", ada).with("less", less);
    let server = TestServer::start_asking(TestConfig::default(), tokens).await;
    let client = Client::builder(url(&server)).token("all").build().unwrap();
    let mut one = client.watch("build-1".parse::<TaskId>().unwrap());
    let mut all = client.watch("build-*".parse::<Pattern>().unwrap());
    server
        .bus()
        .publish(&"build-1".parse().unwrap(), NewEvent::log("a"))
        .await
        .unwrap();
    for watch in [&mut one, &mut all] {
        let first = in_time(watch.recv()).await.unwrap().unwrap();
        assert!(first.snapshot().is_some());
    }
    client.set_token("less").unwrap();
    let ended = in_time(one.recv()).await.unwrap_err();
    let forbidden = matches!(
        ended,
        WatchError::Refused {
            code: ErrorCode::Forbidden,
            ..
        }
    );
    assert!(forbidden, "{ended}");
    // The server ends the whole pattern. It may first report that the task is gone.
    let ended = loop {
        match in_time(all.recv()).await {
            Ok(Some(Update::Removed { task_id })) => assert_eq!(task_id.as_str(), "build-1"),
            Ok(other) => panic!("{other:?}"),
            Err(ended) => break ended,
        }
    };
    assert!(
        matches!(
            ended,
            WatchError::Refused {
                code: ErrorCode::Forbidden,
                ..
            }
        ),
        "{ended}"
    );
}
