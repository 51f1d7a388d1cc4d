//! Every value that is encoded is decoded to the same value.

use proptest::prelude::*;
use tidings_protocol::{ClientMessage, Event, Limits, NewEvent, ServerMessage, encode_event};

use crate::strategies;

proptest! {
    #[test]
    fn events(event in strategies::event()) {
        let text = serde_json::to_string(&event).unwrap();
        prop_assert!(!text.contains(['\n', '\r']), "one line: {text:?}");
        prop_assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event.clone());
        prop_assert_eq!(ServerMessage::decode(&text).unwrap(), ServerMessage::Event(event));
    }

    #[test]
    fn published_events(event in strategies::new_event()) {
        let text = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(serde_json::from_str::<NewEvent>(&text).unwrap(), event);
    }

    #[test]
    fn the_encoder_writes_what_serde_writes(
        event in strategies::new_event(),
        task_id in strategies::task_id(),
        offset in strategies::offset(),
        at in strategies::timestamp(),
        before in ".{0,8}",
        text_at in proptest::option::of(any::<u64>()),
    ) {
        let mut buf = before.clone().into_bytes();
        let data = encode_event(&mut buf, &task_id, offset, at, text_at, &event);
        prop_assert_eq!(&buf[data.clone()], event.data.as_str().as_bytes());
        prop_assert_eq!(data.end + 1, buf.len());
        let event = Event {
            event_type: event.event_type,
            task_id,
            offset,
            from: None,
            timestamp: at,
            event_id: event.event_id,
            source: event.source,
            at: text_at,
            data: event.data,
        };
        prop_assert_eq!(&buf[before.len()..], serde_json::to_vec(&event).unwrap());
    }

    #[test]
    fn client_messages(message in strategies::client_message()) {
        let text = message.encode();
        let limits = Limits::default().with_max_message_bytes(usize::MAX);
        prop_assert_eq!(ClientMessage::decode(&text, &limits).unwrap(), message);
    }

    #[test]
    fn control_messages(message in strategies::control_message(), at in strategies::timestamp()) {
        let text = message.encode(at);
        prop_assert!(!text.contains(['\n', '\r']), "one line: {text:?}");
        let expected = ServerMessage::Control { timestamp: at, message };
        prop_assert_eq!(ServerMessage::decode(&text).unwrap(), expected);
    }

    #[test]
    fn places_and_times(
        position in strategies::position(),
        since in strategies::since(),
        at in strategies::timestamp(),
    ) {
        prop_assert_eq!(position.to_string().parse(), Ok(position));
        prop_assert_eq!(since.to_string().parse(), Ok(since.clone()));
        prop_assert_eq!(at.to_string().parse(), Ok(at));
        let json = serde_json::to_string(&since).unwrap();
        prop_assert_eq!(serde_json::from_str::<tidings_protocol::Since>(&json).unwrap(), since);
    }

    #[test]
    fn data_can_always_be_read(data in strategies::data()) {
        let value: serde_json::Value = serde_json::from_str(data.as_str()).unwrap();
        prop_assert_eq!(data.is_empty(), data.get().is_empty());
        prop_assert_eq!(value.as_object(), Some(&data.get()));
    }
}
