//! The service under a path of an axum application: every URL that it serves leads back to it.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use futures_util::StreamExt;
use tidings::transport::{AxumListener, PeerAddr};
use tidings::{BusConfig, ConnectionManager, ConnectionsConfig, EventBus, NewEvent, TaskId};
use tidings::{TidingsService, TransportConfig};
use tidings_testkit::{HttpResponse, http_exchange};
use tokio::net::TcpListener;

/// An application of its own, with the service and the dashboard under a path.
struct Mounted {
    addr: SocketAddr,
    bus: EventBus,
}

impl Mounted {
    async fn at(path: &str) -> Self {
        let bus = EventBus::new(BusConfig::default()).expect("a bus");
        let manager = ConnectionManager::new(bus.clone(), ConnectionsConfig::default());
        let mut config = TransportConfig::default().pages(tidings::node::dashboard());
        config.routes.extend(tidings::describe::routes());
        let service = TidingsService::new(manager.expect("a manager"), config).expect("a service");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let listener = AxumListener::new(listener, &service).expect("a listener");
        let app = Router::new()
            .route("/", get(async || "the application's own page"))
            .nest_service(path, service)
            .into_make_service_with_connect_info::<PeerAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { addr, bus }
    }

    async fn get(&self, path: &str) -> HttpResponse {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
            self.addr
        );
        http_exchange(self.addr, request.as_bytes()).await
    }

    /// Returns a page, and the paths of what it loads.
    async fn page(&self, path: &str) -> (u16, Vec<String>) {
        let page = self.get(path).await;
        let text = page.text();
        let sources = text.split("src=\"").skip(1);
        let links = text.split("href=\"").skip(1);
        let names = sources
            .chain(links)
            .filter_map(|rest| rest.split('"').next());
        (
            page.status,
            names.map(|name| resolved(path, name)).collect(),
        )
    }
}

/// Resolves a name as a browser does on the page at a path.
fn resolved(page: &str, name: &str) -> String {
    if name.starts_with('/') {
        return name.to_owned();
    }
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[tokio::test]
async fn every_url_of_a_mounted_service_leads_back_to_it() {
    for mount in ["/x", "/deep/tidings"] {
        let app = Mounted::at(mount).await;
        let own = app.get("/").await;
        assert_eq!(own.text(), "the application's own page");
        for (path, status) in [
            ("/", 200),
            ("/connections", 200),
            ("/tasks/build-7", 200),
            ("/nothing", 404),
            ("/nothing/here", 404),
        ] {
            let (found, names) = app.page(&format!("{mount}{path}")).await;
            assert_eq!(found, status, "{mount}{path}");
            assert!(names.len() >= 3, "{mount}{path}: {names:?}");
            for name in names {
                assert!(name.starts_with(mount), "{mount}{path} loads {name}");
                assert_eq!(app.get(&name).await.status, 200, "{name}");
            }
        }
        let client = app.get(&format!("{mount}/tidings.js")).await;
        assert_eq!(
            client.header("content-type"),
            Some("text/javascript; charset=utf-8")
        );
        for name in client.text().split("import(`").skip(1) {
            let name = name.split('`').next().expect("a name");
            let name = resolved(&format!("{mount}/tidings.js"), name);
            assert_eq!(app.get(&name).await.status, 200, "{name}");
        }
        let openapi = app.get(&format!("{mount}/api/openapi.json")).await.json();
        assert_eq!(openapi["servers"][0]["url"], mount);
        let asyncapi = app.get(&format!("{mount}/api/asyncapi.json")).await;
        assert!(
            asyncapi
                .text()
                .contains(&format!("\"{mount}/ws/tasks/{{task_id}}\""))
        );
    }
}

#[tokio::test]
async fn a_watcher_and_the_apis_are_there_under_the_path() {
    let app = Mounted::at("/x").await;
    let task: TaskId = "build-7".parse().expect("a task id");
    let started = app.bus.publish(&task, NewEvent::task_started("Build"));
    started.await.expect("the event is accepted");
    let state = app.get("/x/api/tasks/build-7").await;
    assert_eq!(state.json()["name"], "Build");
    let url = format!("ws://{}/x/ws/tasks/build-7", app.addr);
    let (mut watcher, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("an upgrade");
    let greeting = watcher.next().await.expect("a message").expect("a message");
    assert!(
        greeting.to_string().contains("\"name\":\"Build\""),
        "{greeting}"
    );
}
