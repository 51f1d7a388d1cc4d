//! `tidings bench` as a command.

use crate::support::{Server, finish, refusal, tidings};

fn server() -> Server {
    Server::start(&mut tidings(&["--listen", "127.0.0.1:0"]))
}

#[test]
fn it_loads_a_running_server_and_says_what_came_of_it() {
    let server = server();
    let url = format!("http://{}", server.addr());
    let output = finish(&mut tidings(&[
        "bench",
        "--url",
        &url,
        "--connections",
        "20",
        "--tasks",
        "3",
        "--in-flight",
        "8",
        "--duration",
        "1200ms",
        "--json",
    ]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    // The command has reported its progress.
    assert!(stderr.contains("deliveries/s"), "{stderr}");
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["connections"], 20);
    assert_eq!(result["refused"], 0);
    // Each event has six or seven subscribers.
    let (published, deliveries) = (&result["published"], &result["deliveries"]);
    assert!(published.as_u64().unwrap() > 0, "{result}");
    assert!(
        deliveries.as_u64().unwrap() >= published.as_u64().unwrap(),
        "{result}"
    );
}

#[test]
fn at_a_rate_it_publishes_that_many() {
    let server = server();
    let url = format!("ws://{}/", server.addr());
    let output = finish(&mut tidings(&[
        "bench",
        "--url",
        &url,
        "--connections",
        "2",
        "--rate",
        "50",
        "--duration",
        "500ms",
    ]));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    let published = stdout
        .lines()
        .find_map(|line| line.strip_prefix("published"))
        .unwrap();
    let published: u64 = published.trim().parse().unwrap();
    assert!((1..=25).contains(&published), "{stdout}");
    assert!(stdout.contains("once and in order"), "{stdout}");
}

#[test]
fn what_cannot_be_measured_is_said_in_words() {
    let said = refusal(&mut tidings(&["bench", "--url", "localhost"]), 64);
    assert!(said.contains("\"localhost\" is not a URL"), "{said}");
    // No server listens there: the port was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let said = refusal(&mut tidings(&["bench", "--url", &url]), 69);
    assert!(said.contains("no connection to ws://"), "{said}");
    let both = ["bench", "--rate", "5", "--in-flight", "5"];
    let said = refusal(&mut tidings(&both), 64);
    assert!(said.contains("--in-flight"), "{said}");
}
