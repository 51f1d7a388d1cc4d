//! Damaged messages are refused or decoded as something else. They never cause a panic.

use proptest::prelude::*;
use proptest::sample::Index;
use tidings_protocol::{
    ClientMessage, Data, Event, EventType, Limits, NewEvent, Payload, Position, ServerMessage,
    Since, TaskSnapshot, Timestamp,
};

use crate::strategies;

/// One kind of damage to bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Bytes with a meaning in JSON are more likely to cause trouble.
    let byte = || {
        prop_oneof![
            any::<u8>(),
            proptest::sample::select(&b"{}[]\",:\\u0e.-\n "[..])
        ]
    };
    prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        any::<Index>().prop_map(Damage::Cut),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

fn damaged(text: String, damage: &[Damage]) -> String {
    let mut bytes = text.into_bytes();
    for damage in damage {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match damage {
            Damage::Flip(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Damage::Remove(at) => drop(bytes.remove(at.index(len))),
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(len), to.index(len));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.extend(part);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Passes the text to every decoder, and checks what a decoder accepts.
fn read_everywhere(text: &str) {
    let _ = ClientMessage::decode(text, &Limits::default());
    let _ = ServerMessage::decode(text);
    let _ = serde_json::from_str::<NewEvent>(text);
    let _ = serde_json::from_str::<TaskSnapshot>(text);
    let _ = text.parse::<Since>();
    let _ = text.parse::<Position>();
    let _ = text.parse::<Timestamp>();
    let _ = text.parse::<EventType>();
    if let Ok(event) = serde_json::from_str::<Event>(text) {
        let _ = Payload::parse(&event.event_type, &event.data);
        assert!(!event.data.as_str().contains(['\n', '\r']));
    }
    if let Ok(data) = Data::parse(text) {
        assert!(
            serde_json::from_str::<serde_json::Value>(data.as_str()).is_ok(),
            "{data:?}"
        );
        for event_type in EventType::STANDARD {
            let _ = Payload::parse(event_type, &data).map_err(|error| error.to_string());
        }
    }
}

proptest! {
    #[test]
    fn client_messages(
        message in strategies::client_message(),
        damage in proptest::collection::vec(damage(), 1..6),
    ) {
        read_everywhere(&damaged(message.encode(), &damage));
    }

    #[test]
    fn server_messages(
        message in strategies::control_message(),
        damage in proptest::collection::vec(damage(), 1..6),
    ) {
        read_everywhere(&damaged(message.encode(Timestamp::MIN), &damage));
    }

    #[test]
    fn events(
        event in strategies::event(),
        damage in proptest::collection::vec(damage(), 1..6),
    ) {
        read_everywhere(&damaged(serde_json::to_string(&event).unwrap(), &damage));
    }

    #[test]
    fn data_of_standard_events(
        event in strategies::reported(),
        damage in proptest::collection::vec(damage(), 1..4),
    ) {
        let text = damaged(event.data.as_str().to_owned(), &damage);
        if let Ok(data) = Data::parse(&text) {
            let _ = Payload::parse(&event.event_type, &data).map_err(|error| error.to_string());
        }
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        read_everywhere(&text);
    }
}
