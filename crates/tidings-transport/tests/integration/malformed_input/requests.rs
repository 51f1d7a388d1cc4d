//! Malformed HTTP requests.

use super::server;

#[tokio::test]
async fn http_requests_get_problems_that_name_what_was_wrong() {
    let server = server().await;
    let upgrade: &[(&str, &str)] = &[
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let sse: &[(&str, &str)] = &[("Accept", "text/event-stream")];
    let sse_last: &[(&str, &str)] = &[("Accept", "text/event-stream"), ("Last-Event-ID", "x")];
    let none: &[(&str, &str)] = &[];
    for (method, path, headers, body, status, code, part) in [
        (
            "GET",
            "/api/tasks/a%20b",
            none,
            "",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "GET",
            "/api/tasks/%ff",
            none,
            "",
            400,
            Some("invalid_message"),
            "UTF-8",
        ),
        (
            "GET",
            "/api/tasks/a%20b/events",
            sse,
            "",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "POST",
            "/api/tasks/a%20b/events",
            none,
            "{}",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "DELETE",
            "/api/tasks/a%20b",
            none,
            "",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "GET",
            "/ws/tasks/a%20b",
            upgrade,
            "",
            400,
            Some("invalid_task_id"),
            "' '",
        ),
        (
            "GET",
            "/ws?client_id=a%20b",
            upgrade,
            "",
            400,
            Some("invalid_message"),
            "`client_id`",
        ),
        (
            "GET",
            "/ws/tasks/t?since=x",
            upgrade,
            "",
            400,
            Some("invalid_message"),
            "`since`",
        ),
        (
            "GET",
            "/ws/tasks/t?history=-1",
            upgrade,
            "",
            400,
            Some("invalid_message"),
            "`history`",
        ),
        (
            "GET",
            "/api/tasks/t/events?since=x",
            none,
            "",
            400,
            Some("invalid_message"),
            "`since`",
        ),
        (
            "GET",
            "/api/tasks/t/events?limit=x",
            none,
            "",
            400,
            Some("invalid_message"),
            "`limit`",
        ),
        (
            "GET",
            "/api/tasks/t/events",
            sse_last,
            "",
            400,
            Some("invalid_message"),
            "Last-Event-ID",
        ),
        (
            "GET",
            "/api/tasks?status=odd",
            none,
            "",
            400,
            Some("invalid_message"),
            "`status`",
        ),
        (
            "GET",
            "/api/tasks?limit=-1",
            none,
            "",
            400,
            Some("invalid_message"),
            "`limit`",
        ),
        (
            "GET",
            "/api/tasks?after=a%20b",
            none,
            "",
            400,
            Some("invalid_task_id"),
            "`after`",
        ),
        (
            "GET",
            "/api/connections?task=a%20b",
            none,
            "",
            400,
            Some("invalid_task_id"),
            "`task`",
        ),
        (
            "GET",
            "/api/connections/a%20b",
            none,
            "",
            400,
            Some("invalid_message"),
            "' '",
        ),
        (
            "GET",
            "/api/connections/nobody",
            none,
            "",
            404,
            None,
            "nobody",
        ),
        (
            "GET",
            "/api/tasks/nothing",
            none,
            "",
            404,
            Some("task_not_found"),
            "nothing",
        ),
        (
            "GET",
            "/api/tasks/nothing/events",
            none,
            "",
            404,
            Some("task_not_found"),
            "nothing",
        ),
        (
            "DELETE",
            "/api/tasks/nothing",
            none,
            "",
            404,
            Some("task_not_found"),
            "nothing",
        ),
        ("GET", "/nowhere", none, "", 404, None, "/nowhere"),
        ("GET", "/api/tasks/", none, "", 404, None, "/api/tasks/"),
        (
            "PUT",
            "/api/tasks/t",
            none,
            "{}",
            405,
            None,
            "GET, HEAD, DELETE",
        ),
        (
            "PATCH",
            "/api/tasks/t/events",
            none,
            "{}",
            405,
            None,
            "GET, HEAD, POST",
        ),
        ("GET", "/api/tasks/t/commands", none, "", 405, None, "POST"),
        ("POST", "/healthz", none, "{}", 405, None, "GET, HEAD"),
        ("POST", "/ws", none, "{}", 405, None, "GET"),
        ("GET", "/ws", none, "", 426, None, "WebSocket"),
        ("GET", "/ws/tasks/t", none, "", 426, None, "WebSocket"),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            "{",
            400,
            Some("invalid_message"),
            "line 1",
        ),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            "[{}",
            400,
            Some("invalid_message"),
            "line 1",
        ),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            "{}",
            400,
            Some("invalid_event"),
            "`event_type`",
        ),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            "7",
            400,
            Some("invalid_event"),
            "integer `7`",
        ),
        (
            "POST",
            "/api/tasks/t/events",
            none,
            r#"{"event_type":"progress_update","data":{"progress":101}}"#,
            400,
            Some("invalid_event"),
            "`progress` must be a number from 0 to 100",
        ),
        (
            "POST",
            "/api/connections/nobody/messages",
            none,
            r#"{"event_type":"note"}"#,
            404,
            None,
            "nobody",
        ),
        (
            "POST",
            "/api/tasks/nothing/commands",
            none,
            r#"{"command":"cancel"}"#,
            404,
            Some("task_not_found"),
            "nothing",
        ),
    ] {
        let what = format!("{method} {path} {body}");
        let answer = server.http(method, path, headers, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{what}"
        );
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{what}");
        assert_eq!(problem["code"].as_str(), code, "{what}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{what}: {detail:?} lacks {part:?}");
        match status {
            405 => assert_eq!(answer.header("allow"), Some(part), "{what}"),
            426 => assert_eq!(answer.header("upgrade"), Some("websocket"), "{what}"),
            _ => {}
        }
    }
    assert_eq!(
        server.bus().stats().tasks,
        0,
        "nothing came of any of these"
    );
    assert_eq!(server.manager().stats().accepted, 0);
    server.stop().await;
}
