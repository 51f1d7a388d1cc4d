//! Variables that Kubernetes and Docker give a container for the services beside it. A
//! service that is called `tidings`, or `tidings-…`, has variables that begin as ours do.

/// What the name of a variable ends with that says where a service is, and the beginning
/// of its value if that is fixed.
const ENDINGS: [(&str, &[&str]); 4] = [
    ("SERVICE_HOST", &[]),
    ("SERVICE_PORT", &[]),
    ("PORT", &["tcp://", "udp://", "sctp://"]),
    ("NAME", &["/"]),
];

/// Returns whether a variable tells where a service is, and is no option of ours that is
/// misspelt.
pub(super) fn is_injected(name: &str, value: &str) -> bool {
    let Some(name) = name.strip_prefix(super::PREFIX) else {
        return false;
    };
    let ends = |ending: &str| {
        let rest = name.strip_suffix(ending);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('_'))
    };
    let by_ending = ENDINGS.iter().any(|(ending, values)| {
        ends(ending) && (values.is_empty() || values.iter().any(|start| value.starts_with(start)))
    });
    by_ending || is_named_port(name) || is_of_a_port(name)
}

/// `…SERVICE_PORT_HTTP`: the port of a service that has a name.
fn is_named_port(name: &str) -> bool {
    let at = name.find("SERVICE_PORT_");
    at.is_some_and(|at| at == 0 || name[..at].ends_with('_'))
}

/// `…PORT_8000_TCP`, and the same with `_PROTO`, `_PORT` or `_ADDR`.
fn is_of_a_port(name: &str) -> bool {
    let name = ["_PROTO", "_PORT", "_ADDR"]
        .iter()
        .find_map(|part| name.strip_suffix(part))
        .unwrap_or(name);
    let name = ["_TCP", "_UDP", "_SCTP"]
        .iter()
        .find_map(|protocol| name.strip_suffix(protocol));
    let Some((before, number)) = name.and_then(|name| name.rsplit_once('_')) else {
        return false;
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (before == "PORT" || before.ends_with("_PORT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_services_are_known_by_their_shape() {
        for (name, value) in [
            ("TIDINGS_SERVICE_HOST", "10.0.0.11"),
            ("TIDINGS_SERVICE_PORT", "8000"),
            ("TIDINGS_SERVICE_PORT_HTTP", "8000"),
            ("TIDINGS_PORT", "tcp://10.0.0.11:8000"),
            ("TIDINGS_PORT_8000_TCP", "tcp://10.0.0.11:8000"),
            ("TIDINGS_PORT_8000_TCP_PROTO", "tcp"),
            ("TIDINGS_PORT_8000_TCP_PORT", "8000"),
            ("TIDINGS_PORT_8000_TCP_ADDR", "10.0.0.11"),
            ("TIDINGS_PORT_53_UDP", "udp://10.0.0.11:53"),
            // A service called `tidings-web`, and a link of Docker.
            ("TIDINGS_WEB_SERVICE_HOST", "10.0.0.12"),
            ("TIDINGS_WEB_PORT", "tcp://10.0.0.12:80"),
            ("TIDINGS_WEB_PORT_80_TCP_ADDR", "10.0.0.12"),
            ("TIDINGS_NAME", "/web/tidings"),
        ] {
            assert!(is_injected(name, value), "{name}={value}");
        }
    }

    #[test]
    fn slips_are_still_seen() {
        for (name, value) in [
            ("TIDINGS_PORT", "8000"),
            ("TIDINGS_MAX_EVNTS", "5"),
            ("TIDINGS_NAME", "a"),
            ("TIDINGS_PORT_X_TCP", "tcp://10.0.0.11:8000"),
            ("TIDINGS_SUPPORT", "tcp://10.0.0.11:8000"),
            ("TIDINGS_SERVICE", "x"),
        ] {
            assert!(!is_injected(name, value), "{name}={value}");
        }
    }
}
