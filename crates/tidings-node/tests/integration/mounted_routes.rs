//! Routes of the program itself next to those of the node.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tidings_bus::EventBus;
use tidings_node::NodeConfig;
use tidings_protocol::{NewEvent, TaskId};
use tidings_testkit::{TestServer, http_exchange};
use tower::service_fn;

type Answer = Result<Response<Full<Bytes>>, Infallible>;

/// A service that answers with its name and the requested path.
fn named(
    name: &'static str,
) -> impl tower::Service<
    Request<Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future = impl Future<Output = Answer> + Send,
> + Clone
+ Send
+ Sync
+ 'static {
    service_fn(move |request: Request<Incoming>| async move {
        let text = format!("{name} {}", request.uri().path());
        Ok(Response::new(Full::new(Bytes::from(text))))
    })
}

fn config() -> NodeConfig {
    let mut config = NodeConfig::default();
    config.listen.set_port(0);
    config
}

#[tokio::test]
async fn the_longest_prefix_answers_and_the_rest_is_the_nodes() {
    let config = config()
        .mount("/own", |_| named("short"))
        .mount("/own/deep/", |_| named("long"))
        .mount("/api/tasks", |_| named("over"));
    let server = TestServer::start_node(config).await;
    for (path, expected) in [
        ("/own", "short /own"),
        ("/own/", "short /own/"),
        ("/own/x?y", "short /own/x"),
        ("/own/deep", "long /own/deep"),
        ("/own/deeper", "short /own/deeper"),
        ("/api/tasks/t", "over /api/tasks/t"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.text()), (200, expected), "{path}");
    }
    assert_eq!(server.get("/owner").await.status, 404);
    assert_eq!(server.get("/healthz").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_route_gets_the_bus_of_the_node() {
    let publish = |bus: EventBus| {
        service_fn(move |_: Request<Incoming>| {
            let bus = bus.clone();
            async move {
                let task = TaskId::new("t").unwrap();
                bus.publish(&task, NewEvent::log("hello")).await.unwrap();
                Answer::Ok(Response::new(Full::default()))
            }
        })
    };
    let server = TestServer::start_node(config().mount("/publish", publish)).await;
    assert_eq!(server.get("/publish").await.status, 200);
    let task = server.get("/api/tasks/t").await.json();
    assert_eq!(task["offset"], 1, "{task}");
    server.stop().await;
}

#[tokio::test]
async fn a_foreign_name_reaches_no_route() {
    let server = TestServer::start_node(config().mount("/own", |_| named("own"))).await;
    let request = "GET /own HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let answer = http_exchange(server.addr(), request.as_bytes()).await;
    assert_eq!(answer.status, 421, "{}", answer.text());
    server.stop().await;
}
