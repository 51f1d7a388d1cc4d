//! `tidings demo` as a command. The simulated tasks have tests of their own.

use std::io::{BufRead, BufReader, Write};

use crate::support::{Server, connect, tidings};

#[test]
fn once_can_be_watched_to_the_end_and_stops_by_itself() {
    let server = Server::start(&mut tidings(&["demo", "--once", "--listen", "127.0.0.1:0"]));
    let mut stream = connect(server.addr());
    let request = format!(
        "GET /api/tasks/test_001/events?since=0 HTTP/1.1\r\nhost: {}\r\n\
         accept: text/event-stream\r\n\r\n",
        server.addr()
    );
    stream.write_all(request.as_bytes()).unwrap();

    let mut progress = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let Some(data) = line.strip_prefix("data: ").or(line.strip_prefix("data:")) else {
            continue;
        };
        let event: serde_json::Value = serde_json::from_str(data).unwrap();
        match event["event_type"].as_str().unwrap() {
            "progress_update" => progress.push(event["data"]["progress"].as_i64().unwrap()),
            "task_completed" => break,
            _ => {}
        }
    }
    assert_eq!(progress, [20, 40, 60, 80, 100]);
    assert_eq!(server.wait(), Some(0));
}
