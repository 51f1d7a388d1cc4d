//! With `--otlp`, a collector receives a span of every request, in the trace of its client.

#![cfg(unix)]

use std::process::Command;

use crate::support::tidings;

fn exporting(to: &str) -> Command {
    let mut command = tidings(&["--listen", "127.0.0.1:0", "--otlp", to]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(feature = "otlp")]
mod built_with_it {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
    use prost::Message as _;

    use super::exporting;
    use crate::support::{self, DEADLINE, Server, finish, tidings};

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    /// A span, and the name of its service.
    type Got = (String, Span);

    /// Starts a collector that passes on everything that it receives.
    fn collector() -> (String, mpsc::Receiver<Got>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (out, got) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let out = out.clone();
                thread::spawn(move || serve(stream.unwrap(), &out));
            }
        });
        (format!("http://{addr}"), got)
    }

    fn serve(stream: TcpStream, out: &mpsc::Sender<Got>) {
        let mut answers = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            let lower = head.to_lowercase();
            assert!(
                lower.contains("content-type: application/x-protobuf"),
                "{head}"
            );
            let length = lower.split("content-length: ").nth(1).unwrap();
            let length = length.lines().next().unwrap().parse().unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let batch = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            for resource in batch.resource_spans {
                let attributes = resource.resource.unwrap().attributes;
                let service = attributes.iter().find(|known| known.key == "service.name");
                let Some(Value::StringValue(name)) = service.unwrap().value.clone().unwrap().value
                else {
                    panic!("a name is text");
                };
                for span in resource
                    .scope_spans
                    .into_iter()
                    .flat_map(|scope| scope.spans)
                {
                    let _ = out.send((name.clone(), span));
                }
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            if answers.write_all(answer).is_err() {
                return;
            }
        }
    }

    fn exchange(server: &Server, head: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "{head}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        support::exchange(server.addr(), request.as_bytes())
    }

    fn publish(server: &Server) {
        let head = format!(
            "POST /api/tasks/build-1/events HTTP/1.1\r\n\
             Content-Type: application/json\r\n\
             X-Request-Id: req-7\r\n\
             traceparent: 00-{TRACE}-{PARENT}-01"
        );
        let answer = exchange(server, &head, r#"{"event_type":"task_started","data":{}}"#);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn text_of(span: &Span, key: &str) -> Option<String> {
        let attribute = span.attributes.iter().find(|known| known.key == key)?;
        match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            Value::IntValue(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Returns the next span with this name.
    fn next(got: &mpsc::Receiver<Got>, name: &str) -> Got {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (service, span) = got.recv_timeout(left).expect(name);
            if span.name == name {
                return (service, span);
            }
        }
    }

    #[test]
    fn a_publish_is_a_span_in_its_clients_trace_and_so_says_its_id_route_and_status() {
        let (to, got) = collector();
        // Nothing is logged, and the spans are exported nevertheless.
        let server = Server::start(exporting(&to).args(["--log", "off"]));
        publish(&server);
        let (service, span) = next(&got, "POST /api/tasks/{task_id}/events");
        assert_eq!(service, "tidings");
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(hex(&span.parent_span_id), PARENT);
        assert_eq!(span.kind, SpanKind::Server as i32);
        for (key, value) in [
            ("http.request.method", "POST"),
            ("http.route", "/api/tasks/{task_id}/events"),
            ("http.response.status_code", "201"),
            ("request_id", "req-7"),
        ] {
            assert_eq!(
                text_of(&span, key).as_deref(),
                Some(value),
                "{key}: {span:?}"
            );
        }
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }

    #[test]
    fn what_is_left_at_a_stop_is_sent_under_the_name_that_the_environment_gives() {
        let (to, got) = collector();
        let server = Server::start(exporting(&to).env("OTEL_SERVICE_NAME", "night-builds"));
        let answer = exchange(&server, "BREW /nothing/here HTTP/1.1", "");
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
        let span = got
            .try_iter()
            .find(|(_, span)| text_of(span, "http.response.status_code").as_deref() == Some("404"));
        let (service, span) = span.expect("sent before the end");
        assert_eq!(service, "night-builds");
        assert!(span.name.starts_with("HTTP "), "{}", span.name);
        let method = text_of(&span, "http.request.method");
        assert_eq!(method.as_deref(), Some("_OTHER"));
        // A client without a trace starts a new one.
        assert!(span.parent_span_id.is_empty());
        assert_ne!(hex(&span.trace_id), "0".repeat(32));
    }

    #[test]
    fn a_collector_that_does_not_answer_costs_spans_and_nothing_else() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("http://{}", silent.local_addr().unwrap());
        let server = Server::start(&mut exporting(&to));
        for _ in 0..50 {
            publish_one_more(&server);
        }
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
    }

    fn publish_one_more(server: &Server) {
        let body = r#"{"event_type":"progress_update","data":{"progress":1}}"#;
        let head = "POST /api/tasks/build-2/events HTTP/1.1\r\nContent-Type: application/json";
        let answer = exchange(server, head, body);
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["collector:4318", "ftp://collector", "http://"] {
            let output = finish(&mut tidings(&["--otlp", address]));
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(64), "{text}");
            assert!(text.contains("http://127.0.0.1:4318"), "{text}");
        }
    }
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_program_that_was_built_without_it_says_so() {
    let text = crate::support::refusal(&mut exporting("http://127.0.0.1:4318"), 64);
    assert!(text.contains("--features otlp"), "{text}");
}
