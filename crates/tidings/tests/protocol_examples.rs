//! The messages in `docs/protocol.md` are byte for byte what the code writes, and the page contains
//! every name of the protocol.

use tidings::protocol::{
    ClientMessage, CloseCode, ErrorCode, EventType, GapReason, Limits, ResetReason, ServerMessage,
    UnsubscribeReason,
};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// Returns the lines within fences that are marked as JSON.
fn examples() -> Vec<&'static str> {
    let mut inside = false;
    let mut examples = Vec::new();
    for line in DOCUMENT.lines() {
        match (inside, line) {
            (false, "```json") => inside = true,
            (true, "```") => inside = false,
            (true, line) => examples.push(line),
            (false, _) => {}
        }
    }
    examples
}

/// The snapshot that `{…}` stands for in the examples: the one that is written out.
fn snapshot() -> String {
    let lines = DOCUMENT.lines();
    let found = lines.skip_while(|line| !line.starts_with(r#"{"task_id":"#));
    found
        .take_while(|line| *line != "```")
        .map(str::trim)
        .collect()
}

#[test]
fn examples_are_what_the_code_writes() {
    let mut names = Vec::new();
    for example in examples() {
        let example = &*example.replace("{…}", &snapshot());
        let written = if example.starts_with(r#"{"type":"#) {
            let message = ClientMessage::decode(example, &Limits::default()).expect(example);
            names.push(message.kind.type_name().to_owned());
            message.encode()
        } else {
            match ServerMessage::decode(example).expect(example) {
                ServerMessage::Event(event) => serde_json::to_string(&event).expect("JSON"),
                ServerMessage::Control { timestamp, message } => {
                    names.push(message.name().to_owned());
                    message.encode(timestamp)
                }
                other => panic!("this is in no protocol of ours: {other:?}"),
            }
        };
        assert_eq!(written, example);
    }
    let all = "connection_established subscribed unsubscribed reset gap heartbeat ack error \
        personal_message pong going_away ping publish subscribe unsubscribe command authenticate";
    for name in all.split_whitespace() {
        assert!(
            names.iter().any(|seen| seen == name),
            "there is no example of {name}"
        );
    }
}

#[test]
fn no_example_is_longer_than_what_it_shows() {
    for line in DOCUMENT.lines().filter(|line| line.starts_with(['{', ' '])) {
        assert!(line.len() <= 400, "{line}");
    }
}

#[test]
fn every_name_is_described() {
    let events = EventType::STANDARD
        .iter()
        .map(|name| format!("| `{}` |", name.as_str()));
    let gaps = GapReason::ALL.iter().map(|name| format!("| `{name}` |"));
    let resets = ResetReason::ALL.iter().map(|name| format!("| `{name}` |"));
    let ends = UnsubscribeReason::ALL
        .iter()
        .map(|name| format!("| `{name}` |"));
    let gaps = gaps.chain(resets).chain(ends);
    let errors = ErrorCode::ALL
        .iter()
        .map(|code| format!("| `{code}` | {} |", code.http_status()));
    let closes = CloseCode::ALL
        .iter()
        .map(|code| format!("\n| {} |", code.code()));
    for row in events.chain(gaps).chain(errors).chain(closes) {
        assert!(DOCUMENT.contains(&row), "no row begins with {row}");
    }
}
