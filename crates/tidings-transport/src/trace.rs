//! Propagation of a publisher's trace: W3C trace context in an event's data.
//!
//! The envelope of an event has fixed fields, but its data does not. So `traceparent` becomes a
//! field of the data, and subscribers, handlers and stores receive it like any other field. If the
//! data already has this field, it is not changed.

use http::HeaderMap;
use tidings_protocol::Data;

/// Returns the trace that a request belongs to, if its header is valid.
pub(crate) fn parent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    is_parent(text).then_some(text)
}

/// Checks the form `version-trace-parent-flags`: lower-case hexadecimal, ids not zero (W3C Trace
/// Context §3.2). A later version may append more, which this version cannot check.
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

/// Returns the data with the trace added.
pub(crate) fn carry(data: Data, parent: &str) -> Data {
    if !is_parent(parent) || data.get().contains_key("traceparent") {
        return data;
    }
    let rest = data.as_str()[1..].trim_start();
    let comma = if data.is_empty() { "" } else { "," };
    // The data cannot become too deep, because its depth does not change.
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
