//! A screen on which the cursor moves. `vt100` draws the screen, and this module finds
//! the final rows.
//!
//! A tool that redraws moves the cursor up to the first row of its frame. The rows
//! above are final. A row is also final when it scrolls off, when its frame was not
//! redrawn for a while, and at the end. If the cursor never returns to a row, the row
//! is final at the next tick.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::time::Duration;

use tokio::time::Instant;
use vt100::capture::{BasicFormattedCaptureState, RowContents, basic_formatted_to_plain};
use vt100::{Callbacks, Parser};

use super::token::Token;
use super::{Seen, Size, text};

/// The time after which a frame that is not redrawn counts as complete.
const QUIET: Duration = Duration::from_secs(2);

/// The state of a row, in addition to its text.
#[derive(Debug, Clone, Default)]
struct Row {
    /// The text of the last report of this row.
    told: Option<String>,
    /// True if the cursor has returned to the row from below.
    live: bool,
    /// True if the line in this row has ended.
    passed: bool,
}

pub(super) struct Drawn {
    parser: Parser<Scrolled>,
    rows: VecDeque<Row>,
    /// The time at which the cursor last moved up.
    risen: Option<Instant>,
    /// The row to which the cursor will return, while it is away.
    away_from: Option<u16>,
    /// True if a part of the screen scrolls separately.
    region: bool,
    /// True if the screen has changed since the last shown state.
    changed: bool,
}

/// Rows that have scrolled off.
#[derive(Debug, Default)]
struct Scrolled(Vec<String>);

impl Callbacks for Scrolled {
    fn on_scroll(&mut self, row: RowContents<'_>, alternate_screen: bool) {
        if alternate_screen {
            return;
        }
        let mut formatted = String::new();
        let mut state = BasicFormattedCaptureState::new();
        // Writing to a string does not fail.
        let _ = row.write_formatted_basic(&mut formatted, &mut state);
        self.0.push(basic_formatted_to_plain(&formatted).collect());
    }
}

impl std::fmt::Debug for Drawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drawn")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

fn at_least_one(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap_or(NonZeroU16::MIN)
}

impl Drawn {
    /// Returns a screen with these lines and one incomplete line. The first `told`
    /// lines were already reported.
    pub(super) fn begin(
        size: Size,
        recent: &VecDeque<String>,
        told: usize,
        pending: &[u8],
    ) -> Self {
        let (rows, columns) = (at_least_one(size.rows), at_least_one(size.columns));
        let mut drawn = Self {
            parser: Parser::new_with_callbacks(rows, columns, 0, Scrolled::default()),
            rows: vec![Row::default(); usize::from(rows.get())].into(),
            risen: None,
            away_from: None,
            region: false,
            changed: true,
        };
        for (at, line) in recent.iter().enumerate() {
            if at == told {
                drawn.settle(drawn.row(), &mut Vec::new());
            }
            drawn.write(line.as_bytes(), &mut Vec::new());
            drawn.newline(&mut Vec::new());
        }
        if told == recent.len() {
            drawn.settle(drawn.row(), &mut Vec::new());
        }
        drawn.write(pending, &mut Vec::new());
        drawn
    }

    pub(super) fn resize(&mut self, size: Size) {
        let (rows, columns) = (at_least_one(size.rows), at_least_one(size.columns));
        self.parser.set_size(rows, columns);
        let gone = self.parser.callbacks_mut().0.len();
        self.parser.callbacks_mut().0.clear();
        self.rows.drain(..gone.min(self.rows.len()));
        self.rows.resize(usize::from(rows.get()), Row::default());
    }

    pub(super) fn token(&mut self, token: Token<'_>, now: Instant, seen: &mut Vec<Seen>) {
        match token {
            Token::Text(text) => self.write(text, seen),
            Token::Newline => self.newline(seen),
            Token::Back(bytes) => {
                self.show(seen);
                self.parser.process(bytes);
            }
            Token::EraseRight(bytes) => {
                self.parser.process(bytes);
                self.changed = true;
            }
            Token::Move(bytes) => self.moved(bytes, now, seen),
            Token::Save(bytes) => {
                self.away_from = Some(self.row());
                self.parser.process(bytes);
            }
            Token::Restore(bytes) => {
                self.show_with(self.away_from.is_some(), seen);
                self.parser.process(bytes);
                self.away_from = None;
            }
            Token::Command(_) | Token::Nothing => {}
        }
        self.scrolled(seen);
    }

    fn moved(&mut self, bytes: &[u8], now: Instant, seen: &mut Vec<Seen>) {
        if bytes.last() == Some(&b'r') {
            self.region = bytes.len() > 3;
        }
        let before = self.row();
        let was_alternate = self.is_alternate();
        // Show the present text before it is overwritten.
        self.show(seen);
        self.parser.process(bytes);
        self.changed = true;
        let after = self.row();
        if after < before && self.away_from.is_none() && !was_alternate && !self.is_alternate() {
            self.settle(after, seen);
            for row in self.rows.iter_mut().skip(usize::from(after)) {
                row.live = true;
            }
            self.risen = Some(now);
        }
    }

    fn write(&mut self, bytes: &[u8], seen: &mut Vec<Seen>) {
        let text = printable(bytes);
        // Every character may take two columns.
        let columns = usize::from(self.parser.screen().size().1.get());
        self.make_room(text.len() * 2 / columns + 1, seen);
        self.parser.process(text.as_bytes());
        self.changed = true;
        self.scrolled(seen);
    }

    /// Ends the line of the cursor.
    fn newline(&mut self, seen: &mut Vec<Seen>) {
        if !self.is_alternate() {
            let row = usize::from(self.row());
            self.rows[row].passed = true;
            self.make_room(1, seen);
        }
        self.parser.process(b"\r\n");
        self.scrolled(seen);
    }

    /// Reports the lines that scroll off if the cursor moves down by this number of
    /// rows.
    fn make_room(&mut self, down: usize, seen: &mut Vec<Seen>) {
        let room = self.rows.len() - 1 - usize::from(self.row()).min(self.rows.len() - 1);
        if down <= room || self.is_alternate() {
            return;
        }
        let mut below = (down - room).min(usize::from(self.row()));
        while below < usize::from(self.row())
            && let Ok(above) = u16::try_from(below - 1)
            && self.parser.screen().row_wrapped(above)
        {
            below += 1;
        }
        self.settle(u16::try_from(below).unwrap_or(u16::MAX), seen);
    }

    /// Reports all unreported rows above this one.
    fn settle(&mut self, below: u16, seen: &mut Vec<Seen>) {
        let mut line = String::new();
        let mut is_new = false;
        for row in 0..below {
            let (text, wrapped) = self.text(row);
            let known = &mut self.rows[usize::from(row)];
            // A drawn row that is blank now was erased.
            let counts = !text.is_empty() || (known.passed && !known.live);
            is_new |= counts && known.told.as_ref() != Some(&text);
            line.push_str(&text);
            *known = Row {
                told: Some(text),
                live: false,
                passed: true,
            };
            if !wrapped {
                let line = std::mem::take(&mut line);
                if std::mem::take(&mut is_new) {
                    seen.push(Seen::line(line));
                }
            }
        }
        if is_new {
            seen.push(Seen::line(line));
        }
    }

    /// Handles rows that have scrolled off.
    fn scrolled(&mut self, seen: &mut Vec<Seen>) {
        for text in std::mem::take(&mut self.parser.callbacks_mut().0) {
            let row = self.rows.pop_front().unwrap_or_default();
            self.rows.push_back(Row::default());
            let counts = !text.is_empty() || (row.passed && !row.live);
            if counts && row.told.as_ref() != Some(&text) {
                seen.push(Seen::line(text));
            }
            self.away_from = self.away_from.map(|row| row.saturating_sub(1));
        }
    }

    /// Reports rows that only a new frame can change, and frames that were not redrawn
    /// for a while.
    pub(super) fn tick(&mut self, now: Instant, seen: &mut Vec<Seen>) {
        if self.is_alternate() || self.away_from.is_some() {
            return;
        }
        let is_quiet = |risen| now.duration_since(risen) >= QUIET;
        let below = if self.risen.is_none_or(is_quiet) {
            self.row()
        } else {
            let frame = self.rows.iter().position(|row| row.live);
            let frame = frame.and_then(|row| u16::try_from(row).ok());
            self.row().min(frame.unwrap_or(u16::MAX))
        };
        self.settle(below, seen);
    }

    /// Ends the output: all rows on the screen are final.
    pub(super) fn finish(&mut self, seen: &mut Vec<Seen>) {
        if self.is_alternate() {
            // The program did not leave the alternate screen. The rows of the main
            // screen are final.
            self.parser.process(b"\x1b[?1049l\x1b[?47l");
            self.scrolled(seen);
        }
        let rows = u16::try_from(self.rows.len()).unwrap_or(u16::MAX);
        let last = (0..rows).rev().find(|row| !self.text(*row).0.is_empty());
        let end = last.map_or(0, |row| row + 1).max(self.row());
        self.settle(end, seen);
    }

    /// Shows the rows that the command redraws, if they have changed.
    pub(super) fn show(&mut self, seen: &mut Vec<Seen>) {
        self.show_with(false, seen);
    }

    fn show_with(&mut self, away: bool, seen: &mut Vec<Seen>) {
        if !std::mem::take(&mut self.changed) || self.is_alternate() {
            return;
        }
        let cursor = self.row();
        let is_shown = |(row, known): (u16, &Row)| {
            let shown = row == cursor || (known.live && !away);
            shown.then(|| self.text(row).0)
        };
        let rows = (0..).zip(&self.rows).filter_map(is_shown);
        let rows: Vec<_> = rows.filter(|text| !text.trim().is_empty()).collect();
        if !rows.is_empty() {
            seen.push(Seen::State(rows));
        }
    }

    /// Returns the lines on the screen if only a cursor that moves up can change them.
    pub(super) fn calm(&self) -> Option<VecDeque<String>> {
        let screen = self.parser.screen();
        let (row, column) = screen.cursor_position();
        if column > 0 || self.region || self.away_from.is_some() || self.is_alternate() {
            return None;
        }
        let above = self.rows.iter().take(usize::from(row));
        if above.clone().any(|row| row.told.is_none() || row.live) {
            return None;
        }
        let rows = u16::try_from(self.rows.len()).unwrap_or(u16::MAX);
        if (row..rows).any(|row| !self.text(row).0.is_empty()) {
            return None;
        }
        Some(above.filter_map(|row| row.told.clone()).collect())
    }

    fn row(&self) -> u16 {
        self.parser.screen().cursor_position().0
    }

    fn is_alternate(&self) -> bool {
        self.parser.screen().alternate_screen()
    }

    /// Returns a row's text, and whether the next row continues the same line.
    fn text(&self, row: u16) -> (String, bool) {
        let screen = self.parser.screen();
        let mut contents = screen.contents_between(row, 0, row + 1, 0);
        let ended = contents.ends_with('\n');
        if ended {
            contents.pop();
        }
        if contents.ends_with(' ') && ended {
            contents.truncate(contents.trim_end().len());
        }
        (contents, !ended)
    }
}

/// Converts bytes for the terminal model: removes control characters, and replaces invalid
/// bytes with `?`.
fn printable(bytes: &[u8]) -> String {
    text(bytes).replace('\u{fffd}', "?")
}
