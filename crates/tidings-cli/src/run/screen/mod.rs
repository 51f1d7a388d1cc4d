//! Output as a person sees it: final lines, and a state that is redrawn.
//!
//! While a stream only has text and line ends, each line is final. After the first
//! cursor movement, a model of the screen separates final lines from the state.

mod drawn;
mod token;

use std::collections::VecDeque;

use tokio::time::Instant;

use drawn::Drawn;
use token::Token;

/// The longest piece of a line in one report, in bytes.
const MAX_LINE: usize = 15 * 1024;

/// A part of a command's visible output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// A line without its end and without control sequences. With `goes_on`, the next
    /// line of the stream continues it.
    Line { text: String, goes_on: bool },
    /// The rows that the command redraws, the topmost first.
    State(Vec<String>),
    /// A command for the terminal program: the text of an OSC.
    Command(String),
}

impl Seen {
    fn line(text: String) -> Self {
        Self::Line {
            text,
            goes_on: false,
        }
    }
}

/// The size of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: u16,
    pub(super) columns: u16,
}

impl Size {
    /// The size of a terminal without a viewer.
    pub(super) const USUAL: Self = Self {
        rows: 24,
        columns: 80,
    };

    /// Returns a size with the same height, wide enough that few lines are wrapped. In
    /// a wrapped line, a carriage return only returns to the start of the last row. The
    /// tool means the start of the line. On a narrow screen, every state of a long line
    /// would therefore stay.
    fn wide(self) -> Self {
        Self {
            columns: self.columns.max(400),
            ..self
        }
    }
}

/// One stream of output. This is a pure state machine: its inputs are bytes and times,
/// and its outputs are visible parts.
#[derive(Debug)]
pub(super) struct Screen {
    size: Size,
    mode: Mode,
    /// Bytes whose meaning depends on the next bytes.
    rest: Vec<u8>,
}

#[derive(Debug)]
enum Mode {
    /// Only text and line ends so far.
    Plain(Plain),
    /// The cursor has moved.
    Drawn(Box<Drawn>),
}

#[derive(Debug, Default)]
struct Plain {
    /// The incomplete line.
    pending: Vec<u8>,
    /// True if the incomplete line has changed since it was last shown.
    changed: bool,
    /// The last lines, as many as fit on a screen.
    recent: VecDeque<String>,
    /// The number of unreported lines at the end of `recent`. Until the next tick, the
    /// command may move up and redraw them.
    fresh: usize,
}

impl Screen {
    pub(super) fn new(size: Size) -> Self {
        Self {
            size: size.wide(),
            mode: Mode::Plain(Plain::default()),
            rest: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8], now: Instant) -> Vec<Seen> {
        self.read(bytes, now, false)
    }

    /// Notes that bytes are missing here. The incomplete line ends.
    pub(super) fn cut(&mut self, now: Instant) -> Vec<Seen> {
        let mut seen = self.finish(now);
        self.mode = Mode::Plain(Plain::default());
        seen.retain(|seen| matches!(seen, Seen::Line { .. }));
        seen
    }

    /// Shows the present state, and the lines that were not redrawn for a while.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Seen> {
        let mut seen = Vec::new();
        match &mut self.mode {
            Mode::Plain(plain) => {
                plain.report(0, &mut seen);
                if std::mem::take(&mut plain.changed) && !plain.pending.is_empty() {
                    seen.push(Seen::State(vec![text(&plain.pending)]));
                }
            }
            Mode::Drawn(drawn) => {
                drawn.show(&mut seen);
                drawn.tick(now, &mut seen);
                self.calm();
            }
        }
        seen
    }

    /// Ends the output: the remaining rows on the screen are lines.
    pub(super) fn finish(&mut self, now: Instant) -> Vec<Seen> {
        let mut seen = self.read(&[], now, true);
        match &mut self.mode {
            Mode::Plain(plain) => {
                plain.report(0, &mut seen);
                if !plain.pending.is_empty() {
                    seen.push(Seen::line(text(&plain.pending)));
                    plain.pending.clear();
                }
            }
            Mode::Drawn(drawn) => {
                drawn.show(&mut seen);
                drawn.finish(&mut seen);
            }
        }
        seen
    }

    /// Sets the new size of the command's terminal.
    pub(super) fn resize(&mut self, size: Size) {
        let size = size.wide();
        if self.size == size {
            return;
        }
        self.size = size;
        if let Mode::Drawn(drawn) = &mut self.mode {
            drawn.resize(size);
        }
    }

    fn read(&mut self, bytes: &[u8], now: Instant, last: bool) -> Vec<Seen> {
        let mut seen = Vec::new();
        let mut whole = std::mem::take(&mut self.rest);
        let mut buffer = bytes;
        if !whole.is_empty() {
            whole.extend_from_slice(bytes);
            buffer = &whole;
        }
        while let Some((token, length)) = token::next(buffer, last) {
            buffer = &buffer[length..];
            self.token(token, now, &mut seen);
        }
        self.rest = buffer.to_vec();
        seen
    }

    fn token(&mut self, token: Token<'_>, now: Instant, seen: &mut Vec<Seen>) {
        if let Token::Command(command) = token {
            seen.push(Seen::Command(text(command)));
            return;
        }
        if let Mode::Plain(plain) = &mut self.mode {
            match token {
                Token::Text(text) => return plain.add(text, seen),
                Token::Newline => return plain.newline(self.size.rows, seen),
                Token::EraseRight(_) | Token::Nothing | Token::Command(_) => {
                    return;
                }
                Token::Back(_) | Token::Move(_) | Token::Save(_) | Token::Restore(_) => {
                    let told = plain.recent.len() - plain.fresh;
                    let drawn = Drawn::begin(self.size, &plain.recent, told, &plain.pending);
                    self.mode = Mode::Drawn(Box::new(drawn));
                }
            }
        }
        if let Mode::Drawn(drawn) = &mut self.mode {
            drawn.token(token, now, seen);
            if token == Token::Newline {
                self.calm();
            }
        }
    }

    /// Returns to plain text if the screen can no longer change.
    fn calm(&mut self) {
        if let Mode::Drawn(drawn) = &self.mode
            && let Some(recent) = drawn.calm()
        {
            self.mode = Mode::Plain(Plain {
                recent,
                ..Plain::default()
            });
        }
    }
}

impl Plain {
    fn add(&mut self, bytes: &[u8], seen: &mut Vec<Seen>) {
        self.pending.extend_from_slice(bytes);
        self.changed = true;
        if self.pending.len() > MAX_LINE {
            self.report(0, seen);
        }
        while self.pending.len() > MAX_LINE {
            let cut = token::whole(&self.pending[..MAX_LINE]);
            let rest = self.pending.split_off(cut);
            seen.push(Seen::Line {
                text: text(&self.pending),
                goes_on: true,
            });
            self.pending = rest;
        }
    }

    fn newline(&mut self, rows: u16, seen: &mut Vec<Seen>) {
        let line = text(&self.pending);
        self.pending.clear();
        self.changed = false;
        self.recent.push_back(line);
        self.fresh += 1;
        let most = usize::from(rows).saturating_sub(1);
        self.report(most, seen);
        while self.recent.len() > most {
            self.recent.pop_front();
        }
    }

    /// Reports all unreported lines except this number at the end.
    fn report(&mut self, but: usize, seen: &mut Vec<Seen>) {
        while self.fresh > but {
            let line = self.recent[self.recent.len() - self.fresh].clone();
            seen.push(Seen::line(line));
            self.fresh -= 1;
        }
    }
}

/// Returns the text without control characters, but with tabs.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.chars().any(|c| c.is_control() && c != '\t') {
        text.chars()
            .filter(|c| !c.is_control() || *c == '\t')
            .collect()
    } else {
        text.into_owned()
    }
}

#[cfg(test)]
mod tests;
