//! The id of a request: the client's own, or a generated one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that carries the id in requests and responses.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted from a client, in bytes.
const LONGEST: usize = 128;

/// Returns the request's id as a header value that is readable text.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(&REQUEST_ID).filter(|value| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
        !value.is_empty() && value.len() <= LONGEST && value.as_bytes().iter().all(plain)
    });
    given.cloned().unwrap_or_else(made)
}

/// Generates an id that is unique across restarts of a server, and short enough to read aloud.
fn made() -> HeaderValue {
    static LIFE: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let life = LIFE.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    });
    let text = format!("{life:x}-{:x}", NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(text).expect("hexadecimal digits and a dash make a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> HeaderValue {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(text).unwrap());
        of(&headers)
    }

    #[test]
    fn a_good_one_is_taken_over() {
        assert_eq!(of_text("job-7.a:b_c"), "job-7.a:b_c");
    }

    #[test]
    fn others_are_made_and_differ() {
        let long = "x".repeat(LONGEST + 1);
        for text in ["with space", "quote\"", long.as_str()] {
            assert_ne!(of_text(text), text);
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
    }
}
