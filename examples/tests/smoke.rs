//! The examples run, and those with a server accept WebSockets.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use tidings::client::Start;
use tidings::{
    BusConfig, Client, ConnectionManager, ConnectionsConfig, EventBus, Server, TidingsService,
    TransportConfig, Update,
};
use tidings_testkit::http_exchange;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::MaybeTlsStream;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(300);

/// Returns the command for an example. cargo builds all examples before it runs the tests of a
/// package.
fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().expect("a test has a path");
    path.pop();
    path.set_file_name("examples");
    path.push(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{name} is not built: cargo build --examples");
    let mut command = Command::new(path);
    command.kill_on_drop(true).env_remove("TIDINGS_URL");
    command
}

async fn output(name: &str) -> String {
    let output = timeout(DEADLINE, example(name).output())
        .await
        .expect("the example ends");
    let output = output.expect("the example starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the example prints text")
}

type WebSocket = tokio_tungstenite::WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Starts an example with a server. Returns its address.
async fn serve(name: &str) -> (tokio::process::Child, String) {
    let mut server = example(name)
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example starts");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
    let line = timeout(DEADLINE, lines.next_line())
        .await
        .expect("a line in time");
    let line = line
        .expect("the pipe is readable")
        .expect("the example says where it listens");
    let addr = line
        .strip_prefix("listening on http://")
        .expect("an address")
        .to_owned();
    // Keep the pipe open, so that the example can still print.
    server.stdout = Some(lines.into_inner().into_inner());
    (server, addr)
}

/// Starts an example with a server, and opens a WebSocket on `path`.
async fn connect(name: &str, path: &str) -> (tokio::process::Child, WebSocket) {
    let (server, addr) = serve(name).await;
    let connect = tokio_tungstenite::connect_async(format!("ws://{addr}{path}"));
    let (stream, _) = timeout(DEADLINE, connect)
        .await
        .expect("in time")
        .expect("an upgrade");
    (server, stream)
}

/// Returns the first message of a WebSocket on `path`.
async fn first_message(name: &str, path: &str) -> serde_json::Value {
    let (_server, mut stream) = connect(name, path).await;
    let message = timeout(DEADLINE, stream.next())
        .await
        .expect("a message in time");
    let message = message.expect("a message").expect("an unbroken connection");
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

#[tokio::test]
async fn embed_bus_shows_both_watchers_the_end() {
    let output = output("embed_bus").await;
    assert_eq!(output.matches("task_completed {}").count(), 2, "{output}");
    assert!(
        output.contains("the task is completed after 7 events"),
        "{output}"
    );
}

#[tokio::test]
async fn file_handler_writes_every_event() {
    let path = std::env::temp_dir().join(format!("tidings-smoke-{}.ndjson", std::process::id()));
    let run = example("file_handler").arg(&path).output();
    let run = timeout(DEADLINE, run)
        .await
        .expect("the example ends")
        .expect("it starts");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let text = std::fs::read_to_string(&path).expect("the file is there");
    std::fs::remove_file(&path).expect("the file can be removed");
    assert_eq!(text.lines().count(), 6, "{text}");
    for line in text.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(event["offset"].is_u64(), "{line}");
    }
}

#[tokio::test]
async fn resuming_watcher_sees_every_offset_once() {
    let output = output("resuming_watcher").await;
    let offsets: Vec<u64> = output
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert_eq!(offsets, (1..=12).collect::<Vec<_>>(), "{output}");
    assert!(
        output.matches("nothing missing: true").count() >= 2,
        "{output}"
    );
}

#[tokio::test]
async fn embed_hyper_upgrades() {
    let hello = first_message("embed_hyper", "/ws/tasks/clock").await;
    assert_eq!(hello["event_type"], "connection_established");
    assert_eq!(hello["task_id"], "clock");
}

#[tokio::test]
async fn embed_axum_upgrades() {
    let hello = first_message("embed_axum", "/ws/tasks/build-7").await;
    assert_eq!(hello["event_type"], "connection_established");
    assert_eq!(hello["data"]["snapshot"]["status"], "pending");
}

#[tokio::test]
async fn embed_node_answers_its_own_route_and_those_of_the_server() {
    let (_server, mut stream) = connect("embed_node", "/ws/tasks/build-7").await;
    let MaybeTlsStream::Plain(socket) = stream.get_ref() else {
        panic!("no TLS was asked for")
    };
    let addr = socket.peer_addr().expect("a connection");
    let mut next = async || {
        let message = timeout(DEADLINE, stream.next()).await.expect("in time");
        let message = message.expect("a message").expect("an unbroken connection");
        let text = message.to_text().expect("text");
        serde_json::from_str::<serde_json::Value>(text).expect("JSON")
    };
    assert_eq!(next().await["event_type"], "connection_established");
    for status in [202, 409] {
        let request = "POST /builds/7 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = http_exchange(addr, request.as_bytes()).await;
        assert_eq!(answer.status, status);
    }
    assert_eq!(next().await["event_type"], "task_started");
}

/// Starts a server for this test. Returns its URL.
async fn server() -> String {
    let bus = BusConfig::default().framing(tidings::WEBSOCKET);
    let bus = EventBus::new(bus).expect("a bus");
    let manager = ConnectionManager::new(bus, ConnectionsConfig::default()).expect("a manager");
    let service = TidingsService::new(manager, TransportConfig::default()).expect("a service");
    let server = Server::bind(([127, 0, 0, 1], 0).into(), service)
        .await
        .expect("a free port");
    let url = format!("http://{}", server.local_addr());
    tokio::spawn(server.run(CancellationToken::new(), Duration::ZERO, Duration::ZERO));
    url
}

#[tokio::test]
async fn cli_tool_counts_and_says_so() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("a root");
    let run = example("cli_tool").current_dir(dir).output();
    let run = timeout(DEADLINE, run)
        .await
        .expect("it ends")
        .expect("it starts");
    let printed = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(
        run.status.success() && printed.contains("100 %") && printed.contains(" bytes"),
        "{printed}"
    );
    let run = example("cli_tool").arg("no such file").output();
    let run = timeout(DEADLINE, run)
        .await
        .expect("it ends")
        .expect("it starts");
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&run.stderr).contains("no such file"));
}

#[tokio::test]
async fn client_works_and_watches() {
    let run = example("client")
        .env("TIDINGS_URL", server().await)
        .output();
    let run = timeout(DEADLINE, run)
        .await
        .expect("it ends")
        .expect("it starts");
    let printed = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(
        printed.contains("progress_update") && printed.contains("10 frames"),
        "{printed}"
    );
}

#[tokio::test]
async fn axum_service_lets_people_log_in_begin_watch_and_cancel() {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    let (_server, addr) = serve("axum_service").await;
    let stranger = tokio_tungstenite::connect_async(format!("ws://{addr}/ws/tasks/ada-7")).await;
    let (mut stranger, _) = stranger.expect("an upgrade, to be told why not");
    let told = timeout(DEADLINE, stranger.next()).await.expect("in time");
    let told = told.expect("a message").expect("an unbroken connection");
    let welcome = |text: &str| text.contains("connection_established");
    assert!(
        !told.to_text().is_ok_and(welcome),
        "without a cookie: {told}"
    );
    let welcomed = post(&addr, "/login", "", "ada").await;
    let set = welcomed.split("session=").nth(1).expect("a cookie");
    let session = set.split(';').next().expect("a value");
    let cookie = format!("Cookie: session={session}\r\n");
    let begun = post(&addr, "/jobs/7", &cookie, "").await;
    assert!(begun.contains("ada-7"), "{begun}");
    let url = format!("ws://{addr}/ws/tasks/ada-7?since=0");
    let mut request = url.into_client_request().expect("a URL");
    let value = format!("session={session}").parse().expect("a header");
    request.headers_mut().insert("cookie", value);
    let (mut watch, _) = tokio_tungstenite::connect_async(request)
        .await
        .expect("an upgrade");
    let json = format!("{cookie}Content-Type: application/json\r\n");
    let mut asked = false;
    let mut said = String::new();
    loop {
        let message = timeout(DEADLINE, watch.next()).await.expect("in time");
        let Some(Ok(message)) = message else {
            panic!("the watch has ended after {said}");
        };
        let text = message.to_text().unwrap_or_default();
        said.push_str(text);
        if text.contains("\"progress_update\"") && !std::mem::replace(&mut asked, true) {
            let body = r#"{"command":"cancel"}"#;
            post(&addr, "/api/tasks/ada-7/commands", &json, body).await;
        }
        if text.contains("\"event_type\":\"task_cancelled\"") {
            assert!(text.contains("cancelled by ada"), "{text}");
            return;
        }
    }
}

/// The whole answer to a request.
async fn post(addr: &str, path: &str, headers: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut stream = tokio::net::TcpStream::connect(addr)
        .await
        .expect("it listens");
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
    answer
}

#[tokio::test]
async fn host_monitor_does_as_it_is_told() {
    let url = server().await;
    let mut monitor = example("host_monitor")
        .arg("host-1")
        .env("TIDINGS_URL", &url)
        .stdout(Stdio::null())
        .spawn()
        .expect("the example starts");
    let client = Client::connect(url).await.expect("a client");
    let task: tidings::TaskId = "host-1".parse().expect("an id");
    let mut watch = client.watch_from(task.clone(), Start::Retained);
    let mut answers = Vec::new();
    let mut figures = 0;
    let watching = async {
        while let Some(update) = watch.recv().await.expect("no end") {
            let Update::Event(event) = update else {
                continue;
            };
            match event.event_type.as_str() {
                "task_started" => {
                    for (name, args) in [
                        ("set_interval", r#"{"seconds":0.1}"#),
                        ("set_interval", r#"{"seconds":"soon"}"#),
                        ("snapshot", "{}"),
                        ("dance", "{}"),
                    ] {
                        let args = tidings::Data::parse(args).expect("an object");
                        let asked = client.command(&task, name, Some(args)).await;
                        asked.expect("the command is taken");
                    }
                }
                // Wait for two more at the new interval.
                "host.figures" => {
                    figures += 1;
                    if figures == 2 {
                        let asked = client.command(&task, "stop", None).await;
                        asked.expect("the command is taken");
                    }
                }
                "command_completed" | "command_rejected" => {
                    answers.push(event.event_type.to_string());
                }
                "task_completed" => break,
                _ => {}
            }
        }
    };
    timeout(DEADLINE, watching).await.expect("its end in time");
    answers.sort();
    let (done, refused) = ("command_completed", "command_rejected");
    assert_eq!(answers, [done, done, done, refused, refused]);
    let status = timeout(DEADLINE, monitor.wait()).await.expect("it ends");
    assert!(status.expect("a status").success());
}
