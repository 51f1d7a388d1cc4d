//! Tests which lines are final and which are a state, for all ways to split the bytes.

use std::time::Duration;

use super::*;

const SMALL: Size = Size {
    rows: 10,
    columns: 40,
};

/// Returns the lines and states of some output. Feeds it at once and byte by byte, and
/// checks that the lines are the same.
fn seen(size: Size, output: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let now = Instant::now();
    let mut screen = Screen::new(size);
    let mut at_once = screen.take(output.as_bytes(), now);
    at_once.extend(screen.finish(now));
    let mut screen = Screen::new(size);
    let mut bytewise = Vec::new();
    for byte in output.as_bytes() {
        bytewise.extend(screen.take(&[*byte], now));
    }
    bytewise.extend(screen.finish(now));
    assert_eq!(lines(&at_once), lines(&bytewise));
    let states = at_once.iter().filter_map(|seen| match seen {
        Seen::State(rows) => Some(rows.clone()),
        _ => None,
    });
    (lines(&at_once), states.collect())
}

fn lines(seen: &[Seen]) -> Vec<String> {
    let line = |seen: &Seen| match seen {
        Seen::Line { text, .. } => Some(text.clone()),
        _ => None,
    };
    seen.iter().filter_map(line).collect()
}

#[test]
fn plain_lines_stay_with_their_tabs_and_blanks() {
    let (lines, states) = seen(SMALL, "a\tb\n\n\x1b[31mred\x1b[0m\x1b[K\r\n\nend");
    assert_eq!(lines, ["a\tb", "", "red", "", "end"]);
    assert!(states.is_empty());
}

#[test]
fn a_line_that_is_written_over_stays_as_it_was_at_its_end() {
    let (lines, states) = seen(SMALL, "one\n 10%\r 20%\r\x1b[Kdone\nnext\n");
    assert_eq!(lines, ["one", "done", "next"]);
    assert_eq!(states[..2], [[" 10%"], [" 20%"]]);
}

#[test]
fn a_counter_that_goes_back_is_a_state() {
    let output = "count 1\x082\x083\x084\nnext\n";
    let (lines, states) = seen(SMALL, output);
    assert_eq!(lines, ["count 4", "next"]);
    assert_eq!(states[0], ["count 1"]);
}

#[test]
fn frames_are_states_and_the_last_one_stays() {
    let mut output = String::from("start\n");
    for step in 0..50 {
        if step > 0 {
            output.push_str("\x1b[3A");
        }
        for bar in 0..3 {
            output.push_str(&format!("\x1b[2K\rlayer {bar}: {step}\n"));
        }
    }
    output.push_str("end\n");
    let (lines, states) = seen(SMALL, &output);
    assert_eq!(
        lines,
        ["start", "layer 0: 49", "layer 1: 49", "layer 2: 49", "end"]
    );
    assert!(states.contains(&vec![
        "layer 0: 7".to_owned(),
        "layer 1: 7".to_owned(),
        "layer 2: 7".to_owned(),
    ]));
}

#[test]
fn a_line_printed_above_bars_stays_at_once() {
    let now = Instant::now();
    let mut screen = Screen::new(SMALL);
    let mut all = screen.take(b"bar 1\n", now);
    all.extend(screen.tick(now));
    // A first frame cannot be distinguished from a line.
    assert_eq!(lines(&all), ["bar 1"]);
    all.extend(screen.take(b"\x1b[1A\x1b[Jmessage\nbar 2\n", now));
    all.extend(screen.tick(now));
    all.extend(screen.take(b"\x1b[1A\x1b[Jbar 3\n", now));
    all.extend(screen.tick(now));
    assert_eq!(lines(&all), ["bar 1", "message"]);
    all.extend(screen.finish(now));
    assert_eq!(lines(&all), ["bar 1", "message", "bar 3"]);
}

#[test]
fn a_frame_that_is_erased_leaves_nothing() {
    let (lines, _) = seen(
        SMALL,
        "a\nbar 1\nbar 2\r\x1b[1A\x1b[2K\x1b[1B\x1b[2K\x1b[1A\rb\n",
    );
    assert_eq!(lines, ["a", "b"]);
}

#[test]
fn what_scrolls_off_a_frame_stays() {
    // A frame that grows at its end and is redrawn from its top.
    let mut output = String::new();
    for step in 1..=15 {
        if step > 1 {
            output.push_str(&format!("\x1b[{}A", (step - 1).min(9)));
        }
        let from = if step > 10 { step - 9 } else { 1 };
        for row in from..=step {
            output.push_str(&format!("\r\x1b[2Krow {row}\n"));
        }
    }
    let (lines, _) = seen(SMALL, &output);
    let expected: Vec<_> = (1..=15).map(|row| format!("row {row}")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn quiet_frames_stay_without_waiting_for_the_end() {
    let start = Instant::now();
    let mut screen = Screen::new(SMALL);
    let mut all = screen.take(b"x\n\x1b[Abar 50%\nplain\n", start);
    all.extend(screen.tick(start));
    assert!(lines(&all).is_empty(), "{all:?}");
    all.extend(screen.tick(start + Duration::from_secs(3)));
    assert_eq!(lines(&all), ["bar 50%", "plain"]);
    all.extend(screen.take(b"more\n", start + Duration::from_secs(3)));
    all.extend(screen.tick(start + Duration::from_secs(3)));
    assert_eq!(lines(&all), ["bar 50%", "plain", "more"]);
    assert!(screen.finish(start).is_empty());
}

#[test]
fn a_full_screen_program_leaves_no_lines() {
    let (lines, states) = seen(
        SMALL,
        "$ vi\n\x1b[?1049h\x1b[1;1Hfile 50%\x1b[10;1H~\r\n~\x1b[?1049l$ exit\n",
    );
    assert_eq!(lines, ["$ vi", "$ exit"]);
    let of_the_file = |row: &String| row.contains("file");
    assert!(!states.iter().flatten().any(of_the_file), "{states:?}");
}

#[test]
fn a_status_line_apart_is_a_state() {
    // The output of apt: the last row, outside the scrolling part.
    let mut output = String::from("\n\x1b7\x1b[1;9r\x1b8\x1b[1A");
    for step in 0..20 {
        output.push_str(&format!("\x1b7\x1b[10;1fProgress: [{step:>3}%]\x1b8"));
        output.push_str(&format!("unpacking {step}\r\n"));
    }
    output.push_str("\n\x1b7\x1b[1;10r\x1b8\x1b[1A\x1b[J");
    let (lines, states) = seen(SMALL, &output);
    let expected: Vec<_> = (0..20).map(|step| format!("unpacking {step}")).collect();
    assert_eq!(lines, expected);
    assert!(
        states.contains(&vec!["Progress: [ 12%]".to_owned()]),
        "{states:?}"
    );
}

#[test]
fn a_long_line_is_cut_between_characters_and_marked() {
    let now = Instant::now();
    let mut screen = Screen::new(SMALL);
    let long = format!("{}é", "x".repeat(MAX_LINE - 1));
    let mut all = screen.take(long.repeat(3).as_bytes(), now);
    all.extend(screen.take(b"\nshort\n", now));
    all.extend(screen.finish(now));
    let mut joined = String::new();
    let mut parts = 0;
    for seen in &all {
        let Seen::Line { text, goes_on } = seen else {
            continue;
        };
        assert!(!text.contains('\u{fffd}'));
        joined.push_str(text);
        parts += 1;
        if !goes_on {
            joined.push('\n');
        }
    }
    assert_eq!(joined, format!("{}\nshort\n", long.repeat(3)));
    assert_eq!(parts, 5);
}

#[test]
fn a_line_wider_than_the_screen_is_one() {
    let wide = "y".repeat(150);
    let (lines, _) = seen(SMALL, &format!("1%\r2%\r{wide}\nend\n"));
    assert_eq!(lines, [wide.as_str(), "end"]);
}

#[test]
fn bytes_that_are_no_text_are_no_obstacle() {
    let now = Instant::now();
    let mut screen = Screen::new(SMALL);
    assert!(screen.take(b"a\xff\xfe\x00b\n", now).is_empty());
    assert_eq!(lines(&screen.tick(now)), ["a\u{fffd}\u{fffd}b"]);
    // Random bytes at random places. Wrong lines are the worst result.
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut screen = Screen::new(SMALL);
        for _ in 0..40 {
            let length = random.usize(0..60);
            let some: Vec<u8> = (0..length)
                .map(|_| match random.u8(0..4) {
                    0 => 0x1b,
                    1 => *random.choice(b"[]78ABHJKr;019?hl\r\n\x08").unwrap_or(&b'x'),
                    _ => random.u8(..),
                })
                .collect();
            let _ = screen.take(&some, now);
            let _ = screen.tick(now);
        }
        screen.resize(Size {
            rows: random.u16(0..30),
            columns: random.u16(0..90),
        });
        let _ = screen.take(b"after\r\n\x1b[5Aresize\n", now);
        let _ = screen.finish(now);
    }
}

#[test]
fn what_comes_after_missing_bytes_is_no_continuation() {
    let now = Instant::now();
    let mut screen = Screen::new(SMALL);
    let mut all = screen.take(b"begun \x1b[3", now);
    all.extend(screen.cut(now));
    all.extend(screen.take(b"rest\n", now));
    all.extend(screen.finish(now));
    assert_eq!(lines(&all), ["begun [3", "rest"]);
}
