//! Where a publisher's trace goes on: W3C trace context, carried in an event's data.
//!
//! The envelope of an event is fixed, its data is open, so `traceparent` is a
//! field of the data: watchers, handlers and stores get it like everything else.
//! Data that has such a field already is left as it is.

use http::HeaderMap;
use tidings_protocol::Data;

/// The trace that a request belongs to, if it says so in a way that can be read.
pub(crate) fn parent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    is_parent(text).then_some(text)
}

/// `version-trace-parent-flags`, in lower-case hexadecimal, ids not zero
/// (W3C Trace Context §3.2). A later version may have more behind it, which
/// this one cannot vouch for.
fn is_parent(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let [version, trace, parent, flags] = parts[..] else {
        return false;
    };
    let hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && some(trace)
        && hex(parent, 16)
        && some(parent)
        && hex(flags, 2)
}

/// The data with the trace in it.
pub(crate) fn carry(data: Data, parent: &str) -> Data {
    if !is_parent(parent) || data.get().contains_key("traceparent") {
        return data;
    }
    let rest = data.as_str()[1..].trim_start();
    let comma = if data.is_empty() { "" } else { "," };
    // Too deep it cannot be: it is as deep as it was.
    Data::parse(&format!("{{\"traceparent\":\"{parent}\"{comma}{rest}")).unwrap_or(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn carried(data: &str, parent: &str) -> String {
        carry(Data::parse(data).unwrap(), parent)
            .as_str()
            .to_owned()
    }

    #[test]
    fn a_trace_goes_into_the_data() {
        assert_eq!(
            carried("{}", PARENT),
            format!(r#"{{"traceparent":"{PARENT}"}}"#)
        );
        assert_eq!(
            carried(r#"{ "a":1}"#, PARENT),
            format!(r#"{{"traceparent":"{PARENT}","a":1}}"#)
        );
    }

    #[test]
    fn what_the_publisher_has_put_there_stays() {
        let data = r#"{"traceparent":"mine"}"#;
        assert_eq!(carried(data, PARENT), data);
    }

    #[test]
    fn what_is_no_trace_is_not_carried() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\"1",
        ] {
            assert_eq!(carried("{}", text), "{}", "{text}");
        }
    }
}
