//! Reads the lines of standard input.

use std::io::{self, BufRead, IsTerminal as _, Read as _};

use tokio::sync::mpsc;

use crate::output::say;

/// The largest line, in bytes. No message may be as long. The limit keeps a file
/// without line ends from filling the memory.
const MAX_LINE: u64 = 1024 * 1024;

/// Reads lines in the background, up to `ahead` of them in advance. Stops at the first
/// line that cannot be read.
pub(super) fn lines(ahead: usize) -> mpsc::Receiver<Result<String, String>> {
    if io::stdin().is_terminal() {
        say("each line that you type is an event, as JSON; Ctrl-D ends");
    }
    let (sender, receiver) = mpsc::channel(ahead);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut is_first = true;
        while let Some(line) = next(&mut input, std::mem::take(&mut is_first)) {
            let is_last = line.is_err();
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// Reads a line and removes its end. Also removes the byte order mark that some editors
/// write first.
fn next(input: &mut impl BufRead, is_first: bool) -> Option<Result<String, String>> {
    let mut bytes = Vec::new();
    match input.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => return Some(Err(error.to_string())),
    }
    if bytes.len() as u64 == MAX_LINE && !bytes.ends_with(b"\n") {
        return Some(Err(format!("it has more than {MAX_LINE} bytes")));
    }
    let line = match String::from_utf8(bytes) {
        Ok(line) => line,
        Err(error) => return Some(Err(format!("it is no UTF-8: {}", error.utf8_error()))),
    };
    let line = line.trim_end_matches(['\n', '\r']);
    let line = match line.strip_prefix('\u{feff}') {
        Some(rest) if is_first => rest,
        _ => line,
    };
    Some(Ok(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<Result<String, String>> {
        let mut input = bytes;
        let mut lines = Vec::new();
        while let Some(line) = next(&mut input, lines.is_empty()) {
            let is_last = line.is_err();
            lines.push(line);
            if is_last {
                break;
            }
        }
        lines
    }

    #[test]
    fn lines_come_without_what_editors_add() {
        let read = all("\u{feff}{}\r\n\n\u{feff}a\nend".as_bytes());
        let expected = ["{}", "", "\u{feff}a", "end"];
        assert_eq!(read, expected.map(|line| Ok(line.to_owned())));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_the_last() {
        let read = all(b"a\n\xff\nb\n");
        assert_eq!(read.len(), 2);
        assert!(read[1].as_ref().unwrap_err().contains("no UTF-8"));
        let endless = vec![b'x'; 3 * 1024 * 1024];
        let read = all(&endless);
        assert_eq!(read.len(), 1);
        assert!(read[0].as_ref().unwrap_err().contains("1048576 bytes"));
    }
}
