//! A scan of JSON text in one pass, without recursion.

use super::{JsonError, MAX_DEPTH};

/// A number with this many digits may be out of range.
const LONG_NUMBER: usize = 300;

/// The result of a scan of JSON text. The scan does not check whether the text is valid.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The text has more nesting levels than are allowed.
    pub(crate) too_deep: bool,
    /// The text has line breaks between tokens.
    pub(crate) line_breaks: bool,
    /// The text has escapes or numbers that follow the grammar, but may not be readable.
    pub(crate) suspicious: bool,
}

impl Scan {
    pub(crate) fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut scan = Self::default();
        let mut depth = 0_usize;
        let mut digits = 0_usize;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if byte.is_ascii_digit() {
                digits += 1;
                scan.suspicious |= digits > LONG_NUMBER;
                continue;
            }
            match byte {
                b'"' => at = scan.skip_string(bytes, at),
                b'{' | b'[' => {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        scan.too_deep = true;
                        return scan;
                    }
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'\n' | b'\r' => scan.line_breaks = true,
                // This is an exponent, unless the letter belongs to `true` or `false`.
                b'e' | b'E' => scan.suspicious |= digits > 0,
                _ => {}
            }
            digits = 0;
        }
        scan
    }

    /// Returns the index after the string that begins before `at`.
    fn skip_string(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'"' => return at + 1,
                b'\\' => {
                    self.suspicious |= bytes.get(at + 1) == Some(&b'u');
                    at += 2;
                }
                _ => at += 1,
            }
        }
        at
    }

    pub(crate) fn check(self) -> Result<(), JsonError> {
        if self.too_deep {
            Err(JsonError::TooDeep)
        } else {
            Ok(())
        }
    }
}

/// Replaces line breaks by spaces. In valid JSON they occur only between tokens.
pub(crate) fn on_one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Returns the top-level key whose value contains or ends before `column`. The text is an object on
/// one line. Columns are bytes, counted from 1 as in serde_json.
pub(crate) fn key_at(text: &str, column: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut scan = Scan::default();
    let (mut depth, mut at) = (0_usize, 0);
    let mut last_string = 0..0;
    let mut key = None;
    while let Some(&byte) = bytes.get(at) {
        if at >= column {
            break;
        }
        at += 1;
        match byte {
            b'"' => {
                let start = at;
                at = scan.skip_string(bytes, at);
                last_string = start..at.saturating_sub(1);
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => key = text.get(last_string.clone()),
            _ => {}
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_before_a_column_is_found() {
        let text = r#"{"a":1,"b:c":{"d":"}"},"e":[true]}"#;
        for (needle, expected) in [
            ("1", Some("a")),
            ("\"}\"", Some("b:c")),
            ("true", Some("e")),
            ("{\"a\"", None),
        ] {
            let column = text.find(needle).unwrap() + 1;
            assert_eq!(key_at(text, column), expected, "{needle}");
        }
        assert_eq!(key_at(text, 1_000), Some("e"));
        assert_eq!(key_at("", 0), None);
        assert_eq!(key_at("\"", 9), None);
    }

    #[test]
    fn words_are_no_exponents() {
        assert!(!Scan::of("[true,false,\"1e9\"]").suspicious);
        assert!(Scan::of("[1e9]").suspicious);
        assert!(Scan::of("[1.5E9]").suspicious);
    }
}
