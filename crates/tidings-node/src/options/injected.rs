//! Recognises the variables that Kubernetes and Docker set in a container for the
//! services beside it. If a service is called `tidings` or `tidings-…`, its variables
//! have the same prefix as options.

/// The endings of variables with a service's address. If the values have fixed
/// beginnings, the entry lists them.
const ENDINGS: [(&str, &[&str]); 4] = [
    ("SERVICE_HOST", &[]),
    ("SERVICE_PORT", &[]),
    ("PORT", &["tcp://", "udp://", "sctp://"]),
    ("NAME", &["/"]),
];

/// Returns true if a variable contains a service's address. A misspelt option does not
/// count.
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
    by_ending || is_named_port(name) || is_of_a_port(name) || is_of_a_link(name)
}

/// Matches `ENV_…` and `…_ENV_…`: a variable of a container that Docker links.
fn is_of_a_link(name: &str) -> bool {
    name.starts_with("ENV_") || name.contains("_ENV_")
}

/// Matches `…SERVICE_PORT_HTTP`: the port of a service that has a name.
fn is_named_port(name: &str) -> bool {
    let at = name.find("SERVICE_PORT_");
    at.is_some_and(|at| at == 0 || name[..at].ends_with('_'))
}

/// Matches `…PORT_8000_TCP`, and the same with these endings. `_START` and `_END` are for
/// a range of ports.
fn is_of_a_port(name: &str) -> bool {
    let name = without(name, &["_START", "_END"]);
    let name = without(name, &["_PROTO", "_PORT", "_ADDR"]);
    let name = ["_TCP", "_UDP", "_SCTP"]
        .iter()
        .find_map(|protocol| name.strip_suffix(protocol));
    let Some((before, number)) = name.and_then(|name| name.rsplit_once('_')) else {
        return false;
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && (before == "PORT" || before.ends_with("_PORT"))
}

fn without<'a>(name: &'a str, endings: &[&str]) -> &'a str {
    let rest = endings.iter().find_map(|ending| name.strip_suffix(ending));
    rest.unwrap_or(name)
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
            // The variables of a service `tidings-web`, and of a link of Docker.
            ("TIDINGS_WEB_SERVICE_HOST", "10.0.0.12"),
            ("TIDINGS_WEB_PORT", "tcp://10.0.0.12:80"),
            ("TIDINGS_WEB_PORT_80_TCP_ADDR", "10.0.0.12"),
            ("TIDINGS_NAME", "/web/tidings"),
            ("TIDINGS_ENV_PATH", "/bin"),
            ("TIDINGS_1_ENV_MAX_EVNTS", "5"),
            ("TIDINGS_1_PORT", "tcp://172.17.0.2:8000"),
            ("TIDINGS_1_PORT_8000_TCP_ADDR", "172.17.0.2"),
            ("TIDINGS_1_NAME", "/web/tidings_1"),
            ("TIDINGS_PORT_8000_TCP_START", "tcp://172.17.0.2:8000"),
            ("TIDINGS_PORT_8000_TCP_END", "tcp://172.17.0.2:8010"),
            ("TIDINGS_PORT_8000_TCP_PORT_START", "8000"),
            ("TIDINGS_PORT_8000_TCP_PORT_END", "8010"),
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
            ("TIDINGS_ENV", "x"),
            ("TIDINGS_PORT_8000_START", "8000"),
        ] {
            assert!(!is_injected(name, value), "{name}={value}");
        }
    }
}
