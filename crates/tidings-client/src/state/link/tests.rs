//! Tests when a client connects, waits and stops.

use super::*;
use crate::state::Input;
use tidings_protocol::{ClientId, ControlMessage, ServerMessage, Timestamp};

fn said(message: ControlMessage) -> Input {
    let timestamp = Timestamp::MIN;
    Input::Message(Box::new(ServerMessage::Control { timestamp, message }))
}

fn closed(code: u16) -> Input {
    Input::Lost(Loss::Closed {
        code: Some(code),
        reason: String::new(),
    })
}

fn outputs(state: &mut State) -> Vec<Output> {
    std::iter::from_fn(|| state.poll_output()).collect()
}

fn asks_to_connect(state: &mut State) -> bool {
    let outputs = outputs(state);
    outputs
        .iter()
        .any(|output| matches!(output, Output::Connect(_)))
}

/// Returns a client that has received the server's greeting.
fn greeted(token: Option<&str>, has_source: bool, now: Instant) -> State {
    let config = ClientConfig::default().seed(1);
    let mut state = State::new(config, token.map(Secret::from), has_source);
    state.start(now);
    assert!(asks_to_connect(&mut state));
    state.handle(Input::Opened, now);
    greet(&mut state, now);
    state
}

fn greet(state: &mut State, now: Instant) {
    let hello = ControlMessage::connection_established(ClientId::generate(), "", 25_000, None);
    state.handle(said(hello), now);
    assert!(state.is_connected());
    outputs(state);
}

fn pause(state: &State, now: Instant) -> Duration {
    state.poll_timeout().expect("another attempt") - now
}

#[test]
fn the_time_that_the_server_asks_for_is_kept() {
    let now = Instant::now();
    let mut state = greeted(None, false, now);
    let later = now + STABLE_AFTER;
    let after = Some(Duration::from_millis(1_234));
    let goodbye = ControlMessage::going_away("restart", Reconnect::After, after);
    state.handle(said(goodbye), later);
    state.handle(closed(1012), later);
    assert_eq!(pause(&state, later), Duration::from_millis(1_234));
    outputs(&mut state);
    state.handle(Input::Tick, later + Duration::from_millis(1_233));
    assert!(!asks_to_connect(&mut state), "too early");
    state.handle(Input::Tick, later + Duration::from_millis(1_234));
    assert!(asks_to_connect(&mut state));
}

#[test]
fn a_connection_that_never_lasts_is_no_reason_to_hurry() {
    let mut now = Instant::now();
    let mut state = greeted(None, false, now);
    let mut longest = Duration::ZERO;
    for _ in 0..30 {
        let goodbye = ControlMessage::going_away("again", Reconnect::Now, None);
        state.handle(said(goodbye), now);
        state.handle(closed(4408), now);
        let pause = pause(&state, now);
        assert!(pause >= BACKOFF_FLOOR);
        longest = longest.max(pause);
        now += pause;
        state.handle(Input::Tick, now);
        state.handle(Input::Opened, now);
        greet(&mut state, now);
    }
    assert!(longest > Duration::from_secs(2), "{longest:?}");
}

#[test]
fn who_is_dismissed_does_not_come_back() {
    let now = Instant::now();
    for code in [1008, 1009, 4409] {
        let mut state = greeted(None, false, now);
        state.handle(closed(code), now);
        let stopped = state.stopped();
        assert!(matches!(stopped, Some(Stopped::Dismissed { .. })), "{code}");
        assert_eq!(state.poll_timeout(), None);
    }
    let mut state = greeted(None, false, now);
    let goodbye = ControlMessage::going_away("closed by an operator", Reconnect::Never, None);
    state.handle(said(goodbye), now);
    state.handle(closed(1000), now);
    let reason = "closed by an operator".to_owned();
    assert_eq!(state.stopped(), Some(&Stopped::Dismissed { reason }));
}

#[test]
fn every_close_is_followed_by_what_the_table_says() {
    let now = Instant::now();
    for code in CloseCode::ALL {
        let mut state = greeted(None, false, now);
        state.handle(closed(code.code()), now);
        let stops = code.reconnect() == Reconnect::Never;
        assert_eq!(state.stopped().is_some(), stops, "{code:?}");
    }
}

#[test]
fn other_closes_and_breaks_are_followed_by_another_attempt() {
    let now = Instant::now();
    for code in [1000, 1001, 1006, 1011, 1012, 1013, 4408, 4429, 4999] {
        let mut state = greeted(None, false, now);
        state.handle(closed(code), now);
        assert!(state.stopped().is_none(), "{code}");
        assert!(pause(&state, now) <= Duration::from_millis(250), "{code}");
    }
}

#[test]
fn a_refused_token_is_not_shown_again() {
    let now = Instant::now();
    let complaint = |code| ControlMessage::error(None, code, "no");
    let never = || ControlMessage::going_away("no", Reconnect::Never, None);
    let losses = [
        (vec![closed(4401)], Stopped::Unauthenticated),
        (vec![closed(4403)], Stopped::Forbidden),
        (
            vec![Input::Lost(Loss::Refused { status: 401 })],
            Stopped::Unauthenticated,
        ),
        (
            vec![Input::Lost(Loss::Refused { status: 403 })],
            Stopped::Forbidden,
        ),
        // A proxy has removed the close code.
        (
            vec![
                said(complaint(ErrorCode::Unauthenticated)),
                said(never()),
                closed(1006),
            ],
            Stopped::Unauthenticated,
        ),
    ];
    for (inputs, stopped) in losses {
        let mut state = greeted(Some("old"), false, now);
        for input in inputs {
            state.handle(input, now);
        }
        assert_eq!(state.stopped(), Some(&stopped));
    }
}

#[test]
fn a_source_gives_another_token_or_ends_it() {
    let now = Instant::now();
    let refused = || {
        let mut state = greeted(Some("old"), true, now);
        state.handle(closed(4401), now);
        let outputs = outputs(&mut state);
        let asked = |output: &Output| matches!(output, Output::RefreshToken);
        assert!(outputs.iter().any(asked));
        assert!(
            !outputs
                .iter()
                .any(|output| matches!(output, Output::Connect(_)))
        );
        let timeout = ClientConfig::default().token_timeout;
        assert_eq!(
            pause(&state, now),
            timeout,
            "nothing happens without a token"
        );
        state
    };
    let mut state = refused();
    state.handle(Input::Token(Some("new".into())), now);
    assert!(asks_to_connect(&mut state));
    assert_eq!(state.token().map(Secret::reveal), Some("new"));

    let mut state = refused();
    state.handle(Input::Token(Some("old".into())), now);
    assert_eq!(state.stopped(), Some(&Stopped::Unauthenticated));

    // The source failed. The client asks it again and does not show the old token.
    let mut state = refused();
    state.handle(Input::Token(None), now);
    outputs(&mut state);
    let later = now + pause(&state, now);
    state.handle(Input::Tick, later);
    let outputs = outputs(&mut state);
    assert!(
        matches!(outputs.as_slice(), [Output::RefreshToken]),
        "{outputs:?}"
    );

    let mut state = refused();
    state.set_token("given".into(), now).unwrap();
    assert!(asks_to_connect(&mut state));
}

/// Returns the tokens that the client shows with the next attempt and on the
/// connection.
fn shown(state: &mut State) -> Vec<String> {
    let token = |output: Output| match output {
        Output::Connect(token) => Some(token?.reveal().to_owned()),
        Output::Send(text) => {
            let message: serde_json::Value = serde_json::from_str(&text).unwrap();
            Some(message["token"].as_str()?.to_owned())
        }
        _ => None,
    };
    outputs(state).into_iter().filter_map(token).collect()
}

fn connecting(token: &str, now: Instant) -> State {
    let config = ClientConfig::default().seed(1);
    let mut state = State::new(config, Some(token.into()), false);
    state.start(now);
    assert_eq!(shown(&mut state), [token]);
    state
}

#[test]
fn a_token_given_during_an_attempt_is_not_taken_for_the_refused_one() {
    let now = Instant::now();
    let mut state = connecting("old", now);
    state.set_token("new".into(), now).unwrap();
    state.handle(Input::Lost(Loss::Refused { status: 401 }), now);
    assert!(state.stopped().is_none());
    let later = now + pause(&state, now);
    state.handle(Input::Tick, later);
    assert_eq!(shown(&mut state), ["new"]);
    state.handle(Input::Lost(Loss::Refused { status: 401 }), later);
    assert_eq!(state.stopped(), Some(&Stopped::Unauthenticated));
}

#[test]
fn a_token_given_during_an_attempt_is_shown_after_the_greeting() {
    let now = Instant::now();
    for before_the_handshake in [true, false] {
        let mut state = connecting("old", now);
        if before_the_handshake {
            state.set_token("new".into(), now).unwrap();
            state.handle(Input::Opened, now);
        } else {
            state.handle(Input::Opened, now);
            state.set_token("new".into(), now).unwrap();
        }
        let hello = ControlMessage::connection_established(ClientId::generate(), "", 1, None);
        state.handle(said(hello), now);
        assert_eq!(shown(&mut state), ["new"]);
        state.set_token("new".into(), now).unwrap();
        assert_eq!(shown(&mut state), [""; 0], "it was shown already");
    }
}

#[test]
fn a_source_that_never_answers_is_asked_again() {
    let now = Instant::now();
    let config = ClientConfig::default().seed(1);
    let mut state = State::new(config, None, true);
    state.start(now);
    let asked = |state: &mut State| {
        let outputs = outputs(state);
        outputs
            .iter()
            .any(|output| matches!(output, Output::RefreshToken))
    };
    assert!(asked(&mut state));
    let mut now = now;
    for _ in 0..3 {
        now = state.poll_timeout().unwrap();
        state.handle(Input::Tick, now);
        assert_eq!(state.status(), Status::Waiting(Loss::NoToken));
        now = state.poll_timeout().unwrap();
        state.handle(Input::Tick, now);
        assert!(asked(&mut state));
    }
    state.handle(Input::Token(Some("late".into())), now);
    assert_eq!(shown(&mut state), ["late"]);
}

#[test]
fn silence_is_probed_and_then_taken_for_a_loss() {
    let now = Instant::now();
    let mut state = greeted(None, false, now);
    let timeout = ClientConfig::default().silence_timeout;
    assert_eq!(state.poll_timeout(), Some(now + timeout / 2));
    state.handle(Input::Tick, now + timeout / 2);
    let sent = outputs(&mut state);
    assert!(
        matches!(sent.as_slice(), [Output::Send(text)] if text.contains("ping")),
        "{sent:?}"
    );
    // A heartbeat proves that one direction works. An answer proves both.
    state.handle(said(ControlMessage::heartbeat([])), now + timeout / 2);
    assert_eq!(state.poll_timeout(), Some(now + timeout));
    let answered = now + timeout / 2 + Duration::from_secs(1);
    state.handle(said(ControlMessage::pong(None)), answered);
    assert_eq!(state.poll_timeout(), Some(answered + timeout / 2));
    state.handle(Input::Tick, answered + timeout / 2);
    state.handle(Input::Tick, answered + timeout);
    assert_eq!(state.status(), Status::Waiting(Loss::Silent));
    let outputs = outputs(&mut state);
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Disconnect))
    );
}
