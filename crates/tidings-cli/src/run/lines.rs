//! Bytes of output, taken apart into lines.

/// The longest line that is reported whole; more of it is the next line.
const MAX_LINE: usize = 8 * 1024;

/// A line, or a state of one that is written over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Its text, without control sequences.
    pub(super) text: String,
    /// It ended with a carriage return: what comes next is written over it.
    pub(super) transient: bool,
}

/// Takes bytes as they come and gives lines.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    partial: Vec<u8>,
    /// A carriage return came last: whether it ends a state or a line the next
    /// byte tells.
    returned: bool,
}

impl Splitter {
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => {
                    self.returned = false;
                    lines.push(self.line(false));
                }
                b'\r' => {
                    if self.returned {
                        lines.extend(self.state());
                    }
                    self.returned = true;
                }
                byte => {
                    if std::mem::take(&mut self.returned) {
                        lines.extend(self.state());
                    }
                    self.partial.push(*byte);
                    if self.partial.len() >= MAX_LINE {
                        lines.push(self.line(false));
                    }
                }
            }
        }
        lines
    }

    /// What stands in the last line, which may be written to still. Tools that
    /// draw a bar leave it so.
    pub(super) fn unfinished(&self) -> Option<Line> {
        (!self.partial.is_empty()).then(|| Line {
            text: plain(&String::from_utf8_lossy(&self.partial)),
            transient: true,
        })
    }

    /// The end: what is left is a line.
    pub(super) fn finish(&mut self) -> Option<Line> {
        (!self.partial.is_empty()).then(|| self.line(false))
    }

    fn state(&mut self) -> Option<Line> {
        (!self.partial.is_empty()).then(|| self.line(true))
    }

    fn line(&mut self, transient: bool) -> Line {
        let text = plain(&String::from_utf8_lossy(&self.partial));
        self.partial.clear();
        Line { text, transient }
    }
}

/// Text without colours, cursor movements and other control characters.
pub(super) fn plain(text: &str) -> String {
    console::strip_ansi_codes(text)
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> Vec<(String, bool)> {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            lines.extend(splitter.take(piece.as_bytes()));
        }
        lines.extend(splitter.finish());
        let pair = |line: Line| (line.text, line.transient);
        lines.into_iter().map(pair).collect()
    }

    #[test]
    fn lines_and_states_are_told_apart_wherever_pieces_end() {
        let text = "one\r\ntwo\n 10%\r 20%\r\x1b[K\x1b[32mdone\x1b[0m\n\nrest";
        let expected = [
            ("one", false),
            ("two", false),
            (" 10%", true),
            (" 20%", true),
            ("done", false),
            ("", false),
            ("rest", false),
        ]
        .map(|(text, transient)| (text.to_owned(), transient));
        assert_eq!(lines(&[text]), expected);
        let bytes: Vec<_> = text.split_inclusive(|_| true).collect();
        assert_eq!(lines(&bytes), expected);
    }

    #[test]
    fn a_line_without_end_is_reported_in_parts() {
        let lines = lines(&[&"x".repeat(MAX_LINE * 2 + 1)]);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn bytes_that_are_no_text_are_no_obstacle() {
        let mut splitter = Splitter::default();
        let lines = splitter.take(b"a\xff\xfe\x00b\n");
        assert_eq!(lines[0].text, "a\u{fffd}\u{fffd}b");
    }
}
