//! Splits bytes for a terminal into tokens: text, line ends and cursor movements.

/// The longest accepted sequence, in bytes. A longer one does not count as a sequence.
const LONGEST: usize = 4 * 1024;

/// A piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Characters, including tabs. They may be invalid UTF-8.
    Text(&'a [u8]),
    /// A line feed, with the carriage returns before it.
    Newline,
    /// The cursor moves back in its line, by carriage return or backspace.
    Back(&'a [u8]),
    /// A sequence that may move the cursor or erase something.
    Move(&'a [u8]),
    /// The cursor's place is saved.
    Save(&'a [u8]),
    /// The cursor returns to the saved place.
    Restore(&'a [u8]),
    /// The rest of the line is erased.
    EraseRight(&'a [u8]),
    /// A command for the terminal program: the text of an OSC.
    Command(&'a [u8]),
    /// A sequence that changes no text, such as a colour, a bell or a mode.
    Nothing,
}

/// Returns the first token of a buffer and its length. Returns `None` if the token
/// depends on later bytes. With `last`, no bytes follow the buffer.
pub(super) fn next(buffer: &[u8], last: bool) -> Option<(Token<'_>, usize)> {
    let first = *buffer.first()?;
    match first {
        b'\n' => Some((Token::Newline, 1)),
        b'\r' => {
            let returns = run(buffer, |byte| byte == b'\r');
            match buffer.get(returns) {
                Some(b'\n') => Some((Token::Newline, returns + 1)),
                None if !last => None,
                _ => Some((Token::Back(&buffer[..1]), returns)),
            }
        }
        0x08 => {
            let backs = run(buffer, |byte| byte == 0x08);
            Some((Token::Back(&buffer[..backs]), backs))
        }
        0x1b => escape(buffer, last),
        byte if is_text(byte) => text(buffer, last),
        _ => Some((Token::Nothing, 1)),
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

fn run(buffer: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let end = buffer.iter().position(|byte| !is(*byte));
    end.unwrap_or(buffer.len())
}

/// Returns the text up to the next control character. A character at the end that is
/// incomplete is left out.
fn text(buffer: &[u8], last: bool) -> Option<(Token<'_>, usize)> {
    let end = run(buffer, is_text);
    let end = if end == buffer.len() && !last {
        whole(&buffer[..end])
    } else {
        end
    };
    (end > 0).then(|| (Token::Text(&buffer[..end]), end))
}

/// Returns the length of the text without an incomplete character at its end.
pub(super) fn whole(text: &[u8]) -> usize {
    for back in 1..=text.len().min(3) {
        let at = text.len() - back;
        let length = match text[at] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            0x80..=0xbf => continue,
            _ => return text.len(),
        };
        return if length > back { at } else { text.len() };
    }
    text.len()
}

fn escape(buffer: &[u8], last: bool) -> Option<(Token<'_>, usize)> {
    // If a sequence does not end, drop only its first byte.
    let endless = (last || buffer.len() > LONGEST).then_some((Token::Nothing, 1));
    match buffer.get(1) {
        None => endless,
        Some(b'[') => {
            let Some(end) = buffer[2..]
                .iter()
                .position(|byte| !(0x20..0x40).contains(byte))
            else {
                return endless;
            };
            let sequence = &buffer[..end + 3];
            Some((csi(sequence), sequence.len()))
        }
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let Some((end, length)) = string_end(&buffer[2..]) else {
                return endless;
            };
            let token = match buffer[1] {
                b']' => Token::Command(&buffer[2..2 + end]),
                _ => Token::Nothing,
            };
            Some((token, 2 + end + length))
        }
        Some(b'7') => Some((Token::Save(&buffer[..2]), 2)),
        Some(b'8') => Some((Token::Restore(&buffer[..2]), 2)),
        Some(0x20..=0x2f) => match buffer.get(2) {
            None => endless,
            Some(_) => Some((Token::Nothing, 3)),
        },
        Some(b'=' | b'>' | b'\\') => Some((Token::Nothing, 2)),
        // In turn: index, next line, reverse index, reset.
        Some(b'D' | b'E' | b'M' | b'c') => Some((Token::Move(&buffer[..2]), 2)),
        Some(0x30..=0x7e) => Some((Token::Nothing, 2)),
        Some(_) => Some((Token::Nothing, 1)),
    }
}

/// Finds the end of a string sequence. Returns its place and the length of its
/// terminator.
fn string_end(buffer: &[u8]) -> Option<(usize, usize)> {
    for (at, byte) in buffer.iter().enumerate() {
        match byte {
            0x07 => return Some((at, 1)),
            0x1b => {
                return match buffer.get(at + 1)? {
                    b'\\' => Some((at, 2)),
                    // Another sequence interrupts this one.
                    _ => Some((at, 0)),
                };
            }
            _ => {}
        }
    }
    None
}

fn csi(sequence: &[u8]) -> Token<'_> {
    let parameters = &sequence[2..sequence.len() - 1];
    let screens: [&[u8]; 3] = [b"?47", b"?1047", b"?1049"];
    match sequence[sequence.len() - 1] {
        b'A'..=b'H'
        | b'J'
        | b'L'
        | b'M'
        | b'P'
        | b'S'
        | b'T'
        | b'X'
        | b'Z'
        | b'@'
        | b'`'
        | b'a'
        | b'b'
        | b'd'
        | b'e'
        | b'f'
        | b'r' => Token::Move(sequence),
        b'K' if parameters.is_empty() || parameters == b"0" => Token::EraseRight(sequence),
        b'K' => Token::Move(sequence),
        b's' if parameters.is_empty() => Token::Save(b"\x1b7"),
        b'u' if parameters.is_empty() => Token::Restore(b"\x1b8"),
        b'h' | b'l' if screens.contains(&parameters) => Token::Move(sequence),
        _ => Token::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut buffer: &[u8]) -> Vec<Token<'_>> {
        let mut tokens = Vec::new();
        while let Some((token, length)) = next(buffer, true) {
            assert!(length > 0);
            tokens.push(token);
            buffer = &buffer[length..];
        }
        tokens
    }

    #[test]
    fn output_is_taken_apart() {
        use Token::{Back, Command, EraseRight, Move, Newline, Nothing, Restore, Save, Text};
        for (bytes, expected) in [
            (&b"a\tb\r\n"[..], &[Text(b"a\tb"), Newline][..]),
            (
                b"\r\r\n1\r2",
                &[Newline, Text(b"1"), Back(b"\r"), Text(b"2")],
            ),
            (b"9\x08\x088", &[Text(b"9"), Back(b"\x08\x08"), Text(b"8")]),
            (
                b"\x1b[1;32mok\x1b[m\x1b[K",
                &[Nothing, Text(b"ok"), Nothing, EraseRight(b"\x1b[K")],
            ),
            (b"\x1b[3A\x1b[2K", &[Move(b"\x1b[3A"), Move(b"\x1b[2K")]),
            (b"\x1b7\x1b8", &[Save(b"\x1b7"), Restore(b"\x1b8")]),
            (
                b"\x1b]9;4;1;40\x07\x1b]0;t\x1b\\x",
                &[Command(b"9;4;1;40"), Command(b"0;t"), Text(b"x")],
            ),
            (b"\x1b[?1049h\x1b[?25l", &[Move(b"\x1b[?1049h"), Nothing]),
            (b"\x1b(B\x00\x07", &[Nothing, Nothing, Nothing]),
            (b"\x1b[12", &[Nothing, Text(b"[12")]),
        ] {
            assert_eq!(all(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn nothing_is_decided_before_it_is_known() {
        for bytes in [
            &b"\r"[..],
            b"\x1b",
            b"\x1b[3",
            b"\x1b]0;title",
            b"\xe2\x82",
            b"\x1b(",
        ] {
            assert_eq!(next(bytes, false), None, "{bytes:?}");
            assert!(next(bytes, true).is_some(), "{bytes:?}");
        }
        let text = "é".as_bytes();
        assert_eq!(next(b"ab\xc3", false), Some((Token::Text(b"ab"), 2)));
        assert_eq!(next(text, false), Some((Token::Text(text), 2)));
        // Do not wait for the rest of bytes that are invalid UTF-8.
        assert_eq!(next(b"\xff", false), Some((Token::Text(b"\xff"), 1)));
    }
}
