//! Types and fields that this version does not know are kept or ignored, never refused.

use tidings_protocol::{
    ClientMessage, ClientRequest, Data, Event, EventType, Limits, NewEvent, Payload, ServerMessage,
    TaskSnapshot,
};

#[test]
fn fields_of_data_are_kept_to_the_letter() {
    let text = r#"{"progress":40.0,"ETA":"soon","nested":{"b":1,"a":[1e2,0.10]}}"#;
    let data = Data::parse(text).unwrap();
    Payload::parse(&EventType::ProgressUpdate, &data).unwrap();
    assert_eq!(data.as_str(), text);
    let message = format!(r#"{{"type":"publish","event_type":"progress_update","data":{text}}}"#);
    let message = ClientMessage::decode(&message, &Limits::default()).unwrap();
    let ClientRequest::Publish { event, .. } = message.kind else {
        panic!("{message:?}")
    };
    assert_eq!(event.data.as_str(), text);
}

#[test]
fn fields_of_messages_are_ignored() {
    let text = r#"{"type":"ping","ref":1,"later":{"x":[]},"task_id":null}"#;
    let message = ClientMessage::decode(text, &Limits::default()).unwrap();
    assert_eq!(message.kind, ClientRequest::Ping);
    let event: NewEvent =
        serde_json::from_str(r#"{"event_type":"log","priority":9,"event_id":null}"#).unwrap();
    assert_eq!(event, NewEvent::new(EventType::Log, Data::empty()));
}

#[test]
fn an_event_type_of_the_applications_own_reaches_it() {
    let text = r#"{"event_type":"render.frame","task_id":"t","offset":3,"timestamp":"2026-11-23T04:45:12.123Z","later":1,"data":{"frame":7}}"#;
    let ServerMessage::Event(event) = ServerMessage::decode(text).unwrap() else {
        panic!()
    };
    assert_eq!(event.event_type.as_str(), "render.frame");
    assert_eq!(event.data.get()["frame"], 7);
    assert_eq!(serde_json::from_str::<Event>(text).unwrap(), event);
}

#[test]
fn a_control_message_of_a_newer_server_is_left_alone() {
    let text =
        r#"{"event_type":"weather","timestamp":"2026-11-23T04:45:12.123Z","data":{"rain":true}}"#;
    let ServerMessage::Unknown { event_type, data } = ServerMessage::decode(text).unwrap() else {
        panic!()
    };
    assert_eq!(
        (event_type.as_str(), data.as_str()),
        ("weather", r#"{"rain":true}"#)
    );
    let text = r#"{"event_type":"heartbeat","timestamp":"2026-11-23T04:45:12.123Z","data":{"heads":{},"load":1}}"#;
    assert!(matches!(
        ServerMessage::decode(text),
        Ok(ServerMessage::Control { .. })
    ));
}

#[test]
fn a_server_message_must_be_one() {
    for text in [
        "",
        "[]",
        r#"["log","t",1]"#,
        "{}",
        r#"{"event_type":"log","offset":1}"#,
        r#"{"event_type":"log","task_id":"t","offset":1,"data":{}}"#,
        r#"{"event_type":"log","task_id":"t","offset":-1,"timestamp":"2026-11-23T04:45:12.123Z","data":{}}"#,
        r#"{"event_type":"No","task_id":"t","offset":1,"timestamp":"2026-11-23T04:45:12.123Z","data":{}}"#,
        r#"{"event_type":"gap","timestamp":"2026-11-23T04:45:12.123Z","data":{"from":1,"to":2,"reason":"expired"}}"#,
        r#"{"event_type":"ack","timestamp":"2026-11-23T04:45:12.123Z","data":{"epoch":"e","offset":1,"duplicate":false}}"#,
        r#"{"event_type":"subscribed","timestamp":"2026-11-23T04:45:12.123Z","data":{}}"#,
        r#"{"event_type":"pong","data":{}}"#,
    ] {
        assert!(ServerMessage::decode(text).is_err(), "{text}");
    }
}

#[test]
fn a_snapshot_of_another_version_is_read() {
    let text = r#"{"task_id":"t","status":"running","run":1,"epoch":"e","offset":4,"mood":"good"}"#;
    let snapshot: TaskSnapshot = serde_json::from_str(text).unwrap();
    assert_eq!(
        (snapshot.run, snapshot.offset.get(), snapshot.name),
        (1, 4, None)
    );
}
