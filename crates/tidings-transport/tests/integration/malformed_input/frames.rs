//! Frames that end a connection, and the close code of each.

use serde_json::json;
use tidings_testkit::{RawClient, eventually, frame, masked_frame};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data as Kind, OpCode};

use super::{Bystander, MAX_MESSAGE, server};

/// The header of a text message in one frame.
const TEXT: FrameHeader = FrameHeader {
    is_final: true,
    rsv1: false,
    rsv2: false,
    rsv3: false,
    opcode: OpCode::Data(Kind::Text),
    mask: None,
};

pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Kind::Text), payload)
}

fn unmasked(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    TEXT.format(payload.len() as u64, &mut bytes).unwrap();
    bytes.extend_from_slice(payload);
    bytes
}

/// Violations of RFC 6455 or of a limit: the bytes, the close code, and the error before it.
fn fatal() -> Vec<(&'static str, Vec<u8>, u16, Option<&'static str>)> {
    let with = |change: fn(&mut FrameHeader), payload: &[u8]| {
        let mut header = TEXT;
        change(&mut header);
        masked_frame(&header, payload)
    };
    let ping = br#"{"type":"ping"}"#;
    let announced = |len: u64| {
        let mut bytes = Vec::new();
        let header = FrameHeader {
            mask: Some([0; 4]),
            ..TEXT
        };
        header.format(len, &mut bytes).unwrap();
        bytes
    };
    let fragments = {
        let mut bytes = with(|header| header.is_final = false, &[b' '; 5_000]);
        bytes.extend(with(
            |header| header.opcode = OpCode::Data(Kind::Continue),
            &[b' '; 5_000],
        ));
        bytes
    };
    let control = |kind| move |payload: &[u8]| frame(OpCode::Control(kind), payload);
    let close = control(Control::Close);
    let two_messages_begun = [with(|header| header.is_final = false, b"{"), text(ping)].concat();
    vec![
        (
            "binary",
            frame(OpCode::Data(Kind::Binary), ping),
            1003,
            Some("invalid_message"),
        ),
        (
            "empty binary",
            frame(OpCode::Data(Kind::Binary), b""),
            1003,
            Some("invalid_message"),
        ),
        (
            "no UTF-8",
            text(b"{\"type\":\"\xff\xfe\"}"),
            1007,
            Some("invalid_message"),
        ),
        (
            "half a character",
            text(b"\xc3"),
            1007,
            Some("invalid_message"),
        ),
        (
            "a surrogate",
            text(b"\xed\xa0\x80"),
            1007,
            Some("invalid_message"),
        ),
        (
            "too large",
            text(&[b' '; MAX_MESSAGE + 1]),
            1009,
            Some("too_large"),
        ),
        ("too large in fragments", fragments, 1009, Some("too_large")),
        (
            "announced too large",
            announced(1 << 40),
            1009,
            Some("too_large"),
        ),
        ("not masked", unmasked(ping), 1002, None),
        (
            "a reserved opcode",
            with(
                |header| header.opcode = OpCode::Data(Kind::Reserved(3)),
                ping,
            ),
            1002,
            None,
        ),
        (
            "a reserved control opcode",
            with(
                |header| header.opcode = OpCode::Control(Control::Reserved(11)),
                b"",
            ),
            1002,
            None,
        ),
        ("RSV1", with(|header| header.rsv1 = true, ping), 1002, None),
        ("RSV2", with(|header| header.rsv2 = true, ping), 1002, None),
        ("RSV3", with(|header| header.rsv3 = true, ping), 1002, None),
        ("a long ping", control(Control::Ping)(&[0; 126]), 1002, None),
        (
            "a ping in fragments",
            with(
                |header| {
                    header.opcode = OpCode::Control(Control::Ping);
                    header.is_final = false;
                },
                b"",
            ),
            1002,
            None,
        ),
        (
            "a continuation of nothing",
            with(|header| header.opcode = OpCode::Data(Kind::Continue), ping),
            1002,
            None,
        ),
        ("a message within a message", two_messages_begun, 1002, None),
        ("a close of one byte", close(&[3]), 1002, None),
    ]
}

#[tokio::test]
async fn what_breaks_the_protocol_or_a_limit_closes_with_its_code() {
    let server = server().await;
    let mut bystander = Bystander::join(&server).await;
    for (what, bytes, code, error) in fatal() {
        let mut client = RawClient::connect(server.addr(), "/ws").await;
        // An earlier message is answered first.
        client.send(&json!({ "type": "ping", "ref": what })).await;
        client.write(&bytes).await;
        let (messages, closed) = client.to_end().await;
        assert_eq!(closed, Some(code), "{what}: {messages:?}");
        let kinds: Vec<_> = messages
            .iter()
            .map(|message| message["event_type"].as_str().unwrap())
            .collect();
        let expected: &[&str] = match error {
            Some(_) => &["connection_established", "pong", "error", "going_away"],
            None => &["connection_established", "pong", "going_away"],
        };
        assert_eq!(kinds, expected, "{what}");
        if let Some(error) = error {
            assert_eq!(messages[2]["data"]["code"], error, "{what}");
        }
        let goodbye = messages.last().unwrap();
        assert_eq!(goodbye["data"]["reconnect"], "never", "{what}: {goodbye}");
        bystander.is_undisturbed(&server, what).await;
    }
    let manager = server.manager().clone();
    eventually("they are gone, all but the bystander", || {
        manager.stats().connected == 1
    })
    .await;
    server.stop().await;
}

/// A client's close is answered with the same code, or with 1002 if it violates the rules.
#[tokio::test]
async fn a_close_is_answered() {
    let server = server().await;
    let close = |code: u16, reason: &[u8]| {
        let payload = [&code.to_be_bytes()[..], reason].concat();
        frame(OpCode::Control(Control::Close), &payload)
    };
    for (what, bytes, code) in [
        ("done", close(1000, b"done"), 1000),
        ("an application's own", close(4242, b""), 4242),
        ("a code that may not be sent", close(1005, b""), 1002),
        ("a code that is none", close(17, b""), 1002),
        ("a reason that is no UTF-8", close(1000, b"\xff"), 1007),
    ] {
        let mut client = RawClient::connect(server.addr(), "/ws").await;
        client.write(&bytes).await;
        let (_, closed) = client.to_end().await;
        assert_eq!(closed, Some(code), "{what}");
    }
    server.stop().await;
}
