//! The error for a malformed message says what is wrong, and where.

use tidings_protocol::{ClientMessage, ErrorCode, Limits, Reference};

fn refused(text: &str) -> (ErrorCode, String, Option<Reference>) {
    match ClientMessage::decode(text, &Limits::default()) {
        Ok(message) => panic!("{text} was read as {message:?}"),
        Err(error) => (error.code, error.to_string(), error.reference),
    }
}

#[test]
fn each_mistake_has_its_code_and_its_place() {
    use ErrorCode::{InvalidEvent, InvalidMessage, InvalidTaskId, UnknownType};
    let cases = [
        // Not a message at all.
        ("", InvalidMessage, "line 1 column 0"),
        ("   ", InvalidMessage, "not a message"),
        ("hello", InvalidMessage, "line 1 column 1"),
        ("{", InvalidMessage, "line 1 column 1"),
        ("{\"type\":\"ping\",}", InvalidMessage, "line 1 column 16"),
        ("{\n\"type\":\"ping\"\n", InvalidMessage, "line 3"),
        (
            "{\"type\":\"ping\"} {}",
            InvalidMessage,
            "trailing characters",
        ),
        ("[\"ping\"]", InvalidMessage, "expected a JSON object"),
        ("\"ping\"", InvalidMessage, "expected a JSON object"),
        ("null", InvalidMessage, "expected a JSON object"),
        (
            "{\"type\":\"ping\",\"type\":\"ping\"}",
            InvalidMessage,
            "duplicate field `type`",
        ),
        // Errors in `type`.
        ("{}", InvalidMessage, "needs a `type`"),
        ("{\"type\":null}", InvalidMessage, "needs a `type`"),
        (
            "{\"type\":7}",
            InvalidMessage,
            "`type`: invalid type: integer `7`, expected a string",
        ),
        (
            "{\"type\":\"dance\"}",
            UnknownType,
            "no message has the type \"dance\"",
        ),
        (
            "{\"type\":\"PING\"}",
            UnknownType,
            "there are ping, publish",
        ),
        // Errors in `publish`.
        (
            "{\"type\":\"publish\"}",
            InvalidEvent,
            "`publish` needs `event_type`",
        ),
        (
            r#"{"type":"publish","event_type":"No"}"#,
            InvalidEvent,
            "`event_type`: event_type must begin",
        ),
        (
            r#"{"type":"publish","event_type":"gap"}"#,
            InvalidEvent,
            "`gap` is reserved",
        ),
        (
            r#"{"type":"publish","event_type":5}"#,
            InvalidEvent,
            "`event_type`: invalid type",
        ),
        (
            r#"{"type":"publish","event_type":"log","data":[]}"#,
            InvalidEvent,
            "`data`: expected a JSON object, found an array",
        ),
        (
            r#"{"type":"publish","event_type":"log","data":"x"}"#,
            InvalidEvent,
            "`data`: expected a JSON object, found a string",
        ),
        (
            r#"{"type":"publish","event_type":"log","data":{"a":1e999}}"#,
            InvalidEvent,
            "`data`: number out of range",
        ),
        (
            r#"{"type":"publish","event_type":"log","data":{"a":"\ud800"}}"#,
            InvalidEvent,
            "`data`:",
        ),
        (
            r#"{"type":"publish","event_type":"log","event_id":""}"#,
            InvalidEvent,
            "`event_id`: event_id is empty",
        ),
        (
            r#"{"type":"publish","event_type":"log","source":"a\u0000"}"#,
            InvalidEvent,
            "`source`: source has '\\0' at character 2",
        ),
        (
            r#"{"type":"publish","event_type":"log","producer":{"id":"p","epoch":1}}"#,
            InvalidEvent,
            "`producer`: missing field `seq`",
        ),
        (
            r#"{"type":"publish","event_type":"log","producer":{"id":"p","epoch":-1,"seq":1}}"#,
            InvalidEvent,
            "`producer`: invalid value: integer `-1`",
        ),
        (
            r#"{"type":"publish","event_type":"log","task_id":"a b"}"#,
            InvalidTaskId,
            "`task_id`: task_id has ' ' at character 2",
        ),
        (
            r#"{"type":"publish","event_type":"log","task_id":7}"#,
            InvalidTaskId,
            "`task_id`: invalid type: integer `7`",
        ),
        // Errors in `subscribe`.
        (
            r#"{"type":"subscribe","task_id":""}"#,
            InvalidTaskId,
            "task_id is empty",
        ),
        (
            r#"{"type":"subscribe","pattern":"build-"}"#,
            InvalidTaskId,
            "`pattern`: a pattern must end with `*`",
        ),
        (
            r#"{"type":"subscribe","task_id":"a","pattern":"*"}"#,
            InvalidMessage,
            "give only one of `task_id`, `pattern` and `tree`",
        ),
        (
            r#"{"type":"unsubscribe","pattern":"*","tree":"a"}"#,
            InvalidMessage,
            "give only one of `task_id`, `pattern` and `tree`",
        ),
        (
            r#"{"type":"subscribe","tree":"a b"}"#,
            InvalidTaskId,
            "`tree`: task_id",
        ),
        (
            r#"{"type":"command","command":"cancel","tree":"a"}"#,
            InvalidMessage,
            "`tree`: invalid type: string \"a\", expected a boolean",
        ),
        (
            r#"{"type":"subscribe","since":"42"}"#,
            InvalidMessage,
            "`since`: a position is `epoch:offset`",
        ),
        (
            r#"{"type":"subscribe","since":42}"#,
            InvalidMessage,
            "`since`: invalid value: integer `42`",
        ),
        (
            r#"{"type":"subscribe","since":"e:-1"}"#,
            InvalidMessage,
            "`since`: an offset must be a decimal number",
        ),
        (
            r#"{"type":"subscribe","history":-1}"#,
            InvalidMessage,
            "`history`: invalid value: integer `-1`",
        ),
        (
            r#"{"type":"subscribe","history":1.5}"#,
            InvalidMessage,
            "`history`: invalid type: floating point",
        ),
        (
            r#"{"type":"unsubscribe","task_id":"*"}"#,
            InvalidTaskId,
            "task_id has '*' at character 1",
        ),
        // Errors in `command` and `authenticate`.
        (
            r#"{"type":"command"}"#,
            InvalidMessage,
            "`command` needs `command`",
        ),
        (
            r#"{"type":"command","command":""}"#,
            InvalidMessage,
            "`command`: expected 1 to 64 characters",
        ),
        (
            r#"{"type":"command","command":"cancel","args":[]}"#,
            InvalidMessage,
            "`args`: expected a JSON object",
        ),
        (
            r#"{"type":"answer","task_id":"t","input_id":"q","value":null}"#,
            InvalidMessage,
            "`answer` needs `value`: any JSON value but null",
        ),
        (
            r#"{"type":"authenticate"}"#,
            InvalidMessage,
            "`authenticate` needs `token`",
        ),
        (
            r#"{"type":"authenticate","token":{}}"#,
            InvalidMessage,
            "`token`: invalid type: map",
        ),
    ];
    for (text, code, part) in cases {
        let (found, message, _) = refused(text);
        assert_eq!(found, code, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message:?} lacks {part:?}");
    }
}

#[test]
fn the_reference_comes_back_if_it_could_be_read() {
    let (_, _, reference) = refused(r#"{"type":"dance","ref":{"n":[1]}}"#);
    assert_eq!(reference, Some(Reference::parse(r#"{"n":[1]}"#).unwrap()));
    let (_, _, reference) = refused(r#"{"ref":"x"}"#);
    assert_eq!(reference.unwrap().as_str(), "\"x\"");
    let (_, _, reference) = refused(r#"{"ref":"x""#);
    assert_eq!(
        reference, None,
        "an object that does not end has no fields to rely on"
    );
}

#[test]
fn a_reference_has_its_bounds() {
    let (code, message, reference) =
        refused(&format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(255)));
    assert_eq!((code, reference), (ErrorCode::InvalidMessage, None));
    assert!(
        message.contains("`ref` has 257 bytes, at most 256"),
        "{message}"
    );
    let text = format!(r#"{{"type":"ping","ref":"{}"}}"#, "x".repeat(254));
    assert!(ClientMessage::decode(&text, &Limits::default()).is_ok());
}

#[test]
fn size_and_depth_are_bounded() {
    let limits = Limits::default().with_max_message_bytes(20);
    let error = ClientMessage::decode("{\"type\":\"ping\"       }", &limits).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(
        error.to_string().contains("22 bytes, 20 are allowed"),
        "{error}"
    );

    let nested = |levels| {
        let data = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let text = format!(r#"{{"type":"publish","ref":1,"event_type":"log","data":{data}}}"#);
        ClientMessage::decode(&text, &Limits::default())
    };
    assert!(nested(64).is_ok());
    let error = nested(65).unwrap_err();
    assert_eq!(
        (error.code, error.reference.is_some()),
        (ErrorCode::InvalidEvent, true)
    );
    assert!(error.message.contains("64 levels"), "{error}");
    assert!(nested(10_000).is_err());

    // A field that nobody reads may be nested without limit, because it is skipped without
    // recursion.
    let deep = format!(
        r#"{{"type":"ping","x":{}{}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    assert!(ClientMessage::decode(&deep, &Limits::default()).is_ok());
}

#[test]
fn long_nonsense_is_not_echoed_at_length() {
    let (code, message, _) = refused(&format!(r#"{{"type":"{}"}}"#, "é".repeat(20_000)));
    assert_eq!(code, ErrorCode::UnknownType);
    assert!(message.len() < 400, "{} bytes", message.len());
}
