//! The messages in `docs/protocol.md` are what the code writes, byte for byte,
//! and no name of the protocol is missing there.

use tidings::protocol::{
    ClientMessage, CloseCode, ErrorCode, EventType, GapReason, Limits, ServerMessage,
};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// Lines within fences marked as JSON.
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

#[test]
fn examples_are_what_the_code_writes() {
    let mut names = Vec::new();
    for example in examples() {
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
    let all = "connection_established subscribed unsubscribed gap heartbeat ack error \
        personal_message pong going_away ping publish subscribe unsubscribe command authenticate";
    for name in all.split_whitespace() {
        assert!(
            names.iter().any(|seen| seen == name),
            "there is no example of {name}"
        );
    }
}

#[test]
fn every_name_is_described() {
    let events = EventType::STANDARD
        .iter()
        .map(|name| format!("| `{}` |", name.as_str()));
    let gaps = GapReason::ALL.iter().map(|name| format!("| `{name}` |"));
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
