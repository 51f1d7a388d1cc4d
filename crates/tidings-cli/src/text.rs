//! Cleans text that comes from tasks before it reaches a terminal.

use std::borrow::Cow;

/// Returns a single line of text that cannot move the cursor, change colours or reverse
/// the direction. Each such character is replaced with a visible mark.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| mark(c).is_some()) {
        text.chars().map(|c| mark(c).unwrap_or(c)).collect()
    } else {
        Cow::Borrowed(text)
    }
}

/// Returns a JSON text without raw control characters. Such characters only occur
/// within strings, where an escape has the same meaning.
pub(crate) fn clean_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(char::is_control) {
        return Cow::Borrowed(json);
    }
    let mut clean = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() {
            clean.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Returns the replacement of a character, or `None` if the character is harmless.
fn mark(c: char) -> Option<char> {
    match c {
        '\n' => Some('⏎'),
        '\t' => Some(' '),
        // C0, DEL and C1.
        c if c.is_control() => Some('·'),
        // Line separators, and marks that reverse the direction of text.
        '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some('·'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for code in (0..0x20).chain(0x7f..0xa0).chain(0x2066..0x206a) {
            let text = format!("a{}b", char::from_u32(code).unwrap());
            let clean = clean(&text);
            assert_eq!(clean.chars().count(), 3, "{code:x}");
            assert!(!clean.chars().any(char::is_control), "{code:x}");
            assert_ne!(clean, text, "{code:x}");
        }
    }

    #[test]
    fn harmless_text_is_left_alone() {
        for text in ["", "añ 漢字 👩‍💻 ⏎", "a  b"] {
            assert!(matches!(clean(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn json_means_the_same() {
        let json = "{\"a\":\"\u{7f}\u{9b}2J\u{e9}\"}";
        let clean = clean_json(json);
        assert_eq!(clean, "{\"a\":\"\\u007f\\u009b2J\u{e9}\"}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(json), read(&clean));
    }
}
