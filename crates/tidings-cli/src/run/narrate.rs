//! Turns a command's output into events: its lines and its progress.
//!
//! The narrator is a pure state machine. Its inputs are copies and times, and its
//! outputs are events.

use serde_json::{Map, Value, json};
use tidings_client::protocol::{Data, EventType, LogStream, NewEvent, Timestamp};
use tokio::time::Instant;

use super::backlog::Copied;
use super::progress::{Pattern, Reading, Recogniser};
use super::screen::{Screen, Seen, Size};

/// The bytes of lines in one event, well below the limit of a message.
const MAX_LOG: usize = 16 * 1024;

/// A moment, as monotonic time and as wall-clock time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: Timestamp,
}

#[derive(Debug)]
pub(super) struct Narrator {
    streams: [Stream; 2],
    recogniser: Recogniser,
    told: Option<Reading>,
}

/// The lines of one stream that go into its next event.
#[derive(Debug)]
struct Stream {
    stream: LogStream,
    screen: Screen,
    gathered: Option<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    text: String,
    /// The time of the first line.
    since: Timestamp,
}

impl Narrator {
    /// Returns a narrator. `size` is the size of the command's terminal, if it has one.
    pub(super) fn new(size: Size, pattern: Option<Pattern>) -> Self {
        let stream = |stream| Stream {
            stream,
            screen: Screen::new(size),
            gathered: None,
        };
        Self {
            streams: [stream(LogStream::Stdout), stream(LogStream::Stderr)],
            recogniser: Recogniser::new(pattern),
            told: None,
        }
    }

    /// Sets the new size of the command's terminal.
    pub(super) fn resize(&mut self, size: Size) {
        for stream in &mut self.streams {
            stream.screen.resize(size);
        }
    }

    /// Takes a copy of some output. Returns the events that are full and cannot wait.
    pub(super) fn take(&mut self, copied: &Copied, at: Moment) -> Vec<NewEvent> {
        let mut events = Vec::new();
        match copied {
            Copied::Output(stream, bytes) => {
                let index = index(*stream);
                let seen = self.streams[index].screen.take(bytes, at.now);
                self.seen(index, seen, at, &mut events);
            }
            Copied::Missing(stream, bytes) => {
                let index = index(*stream);
                let seen = self.streams[index].screen.cut(at.now);
                self.seen(index, seen, at, &mut events);
                self.streams[index].flush(false, &mut events);
                events.push(missing(*stream, *bytes));
            }
        }
        events
    }

    /// Returns the gathered lines and the latest progress as events.
    pub(super) fn tick(&mut self, at: Moment) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for index in 0..self.streams.len() {
            let seen = self.streams[index].screen.tick(at.now);
            self.seen(index, seen, at, &mut events);
        }
        self.flush(&mut events);
        events
    }

    /// Returns all remaining lines and progress. No more output follows.
    pub(super) fn finish(&mut self, at: Moment) -> Vec<NewEvent> {
        let mut events = Vec::new();
        for index in 0..self.streams.len() {
            let seen = self.streams[index].screen.finish(at.now);
            self.seen(index, seen, at, &mut events);
        }
        self.flush(&mut events);
        events
    }

    /// Returns the last reported progress again, as an event without news.
    pub(super) fn again(&self) -> Option<NewEvent> {
        self.told.as_ref().map(progress)
    }

    fn seen(&mut self, index: usize, seen: Vec<Seen>, at: Moment, events: &mut Vec<NewEvent>) {
        for seen in seen {
            match seen {
                Seen::Line { text, goes_on } => {
                    self.recogniser.line(&text);
                    self.streams[index].line(&text, goes_on, at.wall, events);
                }
                Seen::State(rows) => self.recogniser.state(&rows),
                Seen::Command(command) => self.recogniser.command(&command),
            }
        }
    }

    fn flush(&mut self, events: &mut Vec<NewEvent>) {
        // The stream with the older first line goes first.
        let since = |stream: &Stream| stream.gathered.as_ref().map(|gathered| gathered.since);
        let [stdout, stderr] = &mut self.streams;
        let is_later = match (since(stdout), since(stderr)) {
            (Some(stdout), Some(stderr)) => stderr < stdout,
            _ => false,
        };
        let ordered = if is_later {
            [stderr, stdout]
        } else {
            [stdout, stderr]
        };
        for stream in ordered {
            stream.flush(false, events);
        }
        if let Some(reading) = self.recogniser.latest()
            && self.told.as_ref() != Some(&reading)
        {
            events.push(progress(&reading));
            self.told = Some(reading);
        }
    }
}

impl Stream {
    fn line(&mut self, line: &str, goes_on: bool, wall: Timestamp, events: &mut Vec<NewEvent>) {
        let gathered = self
            .gathered
            .as_ref()
            .map_or(0, |gathered| gathered.text.len());
        if gathered > 0 && gathered + line.len() >= MAX_LOG {
            self.flush(false, events);
        }
        match &mut self.gathered {
            Some(gathered) => {
                gathered.text.push('\n');
                gathered.text.push_str(line);
            }
            None => {
                self.gathered = Some(Gathered {
                    text: line.to_owned(),
                    since: wall,
                });
            }
        }
        if goes_on {
            self.flush(true, events);
        }
    }

    fn flush(&mut self, goes_on: bool, events: &mut Vec<NewEvent>) {
        let Some(gathered) = self.gathered.take() else {
            return;
        };
        let mut data = json!({
            "message": gathered.text,
            "stream": self.stream.as_str(),
            "time": gathered.since.to_string(),
        });
        if goes_on {
            data["continues"] = Value::Bool(true);
        }
        events.push(log(data));
    }
}

fn index(stream: LogStream) -> usize {
    usize::from(stream == LogStream::Stderr)
}

fn missing(stream: LogStream, bytes: u64) -> NewEvent {
    log(json!({
        "message": format!("[{bytes} bytes of output are missing here: they came too fast]"),
        "stream": stream.as_str(),
        "level": "warn",
        "missing_bytes": bytes,
    }))
}

/// Returns the last line of the log of a stream that other processes hold open.
pub(super) fn left_open(stream: LogStream) -> NewEvent {
    log(json!({
        "message": "[processes that the command has left behind can still write: their later \
                    output is not in this log]",
        "stream": stream.as_str(),
        "level": "warn",
    }))
}

fn log(data: Value) -> NewEvent {
    let data = Data::from_value(data);
    NewEvent::new(
        EventType::Log,
        data.expect("an object of texts and numbers"),
    )
}

fn progress(reading: &Reading) -> NewEvent {
    let mut data = Map::new();
    match reading.count {
        Some((current, total)) => {
            data.insert("current".to_owned(), current.into());
            data.insert("total".to_owned(), total.into());
        }
        None => {
            data.insert("progress".to_owned(), reading.percent.into());
        }
    }
    for (key, text) in [("message", &reading.message), ("stage", &reading.stage)] {
        if let Some(text) = text {
            data.insert(key.to_owned(), Value::from(text.as_str()));
        }
    }
    let data = Data::from_value(Value::Object(data));
    let data = data.expect("an object of texts and finite numbers");
    NewEvent::new(EventType::ProgressUpdate, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogStream::{Stderr, Stdout};

    fn at(ms: u64) -> Moment {
        Moment {
            now: Instant::now(),
            wall: Timestamp::from_millis(ms),
        }
    }

    fn narrator() -> Narrator {
        Narrator::new(Size::USUAL, None)
    }

    fn output(stream: LogStream, text: &str) -> Copied {
        Copied::Output(stream, text.as_bytes().to_vec())
    }

    fn values(events: &[NewEvent]) -> Vec<Value> {
        events
            .iter()
            .map(|event| Value::Object(event.data.get()))
            .collect()
    }

    fn messages(events: &[NewEvent]) -> Vec<String> {
        let message = |value: Value| value["message"].as_str().unwrap_or_default().to_owned();
        values(events).into_iter().map(message).collect()
    }

    #[test]
    fn blank_lines_stay_wherever_an_event_ends() {
        let mut narrator = narrator();
        let text = "a\n\n\n b\n\n";
        for chunks in 1..text.len() {
            let mut all = Vec::new();
            for chunk in text.as_bytes().chunks(chunks) {
                let chunk = std::str::from_utf8(chunk).unwrap();
                all.extend(narrator.take(&output(Stdout, chunk), at(0)));
                all.extend(narrator.tick(at(0)));
            }
            assert_eq!(messages(&all).join("\n") + "\n", text, "{chunks}");
        }
    }

    #[test]
    fn lines_carry_their_time_and_the_older_stream_comes_first() {
        let mut narrator = narrator();
        let mut all = narrator.take(&output(Stderr, "first\n"), at(1_000));
        all.extend(narrator.tick(at(1_500)));
        all.extend(narrator.take(&output(Stdout, "second\n"), at(2_000)));
        all.extend(narrator.finish(at(3_000)));
        let values = values(&all);
        assert_eq!(values[0]["stream"], "stderr");
        assert_eq!(values[0]["time"], Timestamp::from_millis(1_500).to_string());
        assert_eq!(values[1]["message"], "second");
    }

    #[test]
    fn a_line_too_long_for_an_event_goes_on_in_the_next() {
        let mut narrator = narrator();
        let long = "é".repeat(40_000);
        let mut all = narrator.take(&output(Stdout, &format!("{long}\nend\n")), at(0));
        all.extend(narrator.finish(at(0)));
        let mut joined = String::new();
        for value in values(&all) {
            joined.push_str(value["message"].as_str().unwrap());
            if value.get("continues").is_none() {
                joined.push('\n');
            }
        }
        assert_eq!(joined, format!("{long}\nend\n"));
    }

    #[test]
    fn what_is_missing_is_told_at_its_place() {
        let mut narrator = narrator();
        let mut all = narrator.take(&output(Stdout, "before\nhalf"), at(0));
        all.extend(narrator.take(&Copied::Missing(Stdout, 1_234), at(0)));
        all.extend(narrator.take(&output(Stdout, "a line\nthe end\n"), at(0)));
        all.extend(narrator.finish(at(0)));
        let values = values(&all);
        assert_eq!(values[0]["message"], "before\nhalf");
        assert_eq!(values[1]["missing_bytes"], 1_234);
        assert_eq!(values[2]["message"], "a line\nthe end");
    }

    #[test]
    fn progress_is_told_once_and_with_its_stage() {
        let mut narrator = narrator();
        let mut all = Vec::new();
        for percent in [0, 40, 40, 40] {
            let text = format!("Receiving objects: {percent:>3}% ({percent}/100)\r");
            all.extend(narrator.take(&output(Stderr, &text), at(0)));
            all.extend(narrator.tick(at(0)));
        }
        let values = values(&all);
        assert_eq!(values.len(), 2, "{values:?}");
        assert_eq!(values[1]["current"], 40);
        assert_eq!(values[1]["stage"], "Receiving objects");
        assert!(narrator.again().is_some());
    }
}
