//! Help, and refusals: they have exit code 64 and name what is wrong.

use std::fs;
use std::path::PathBuf;

use crate::support::{Server, finish, refusal, tidings};

const OPTIONS: &[&str] = &[
    "listen",
    "config",
    "log",
    "log-format",
    "otlp",
    "allow-origin",
    "redis",
    "node-name",
    "auth",
    "jwt-key",
    "jwt-algorithm",
    "jwt-audience",
    "jwt-issuer",
    "jwt-leeway",
    "api-keys",
    "answer-link-key",
    "allow-anonymous",
    "token-in-query",
    "tls-cert",
    "tls-key",
    "tls-client-ca",
    "allow-host",
    "trusted-proxy",
    "proxy-protocol",
    "address-connections",
    "subject-connections",
    "handshake-rate",
    "message-rate",
    "byte-rate",
    "client-message-rate",
    "client-byte-rate",
    "client-task-rate",
    "client-work-rate",
    "failure-rate",
    "client-refusal-rate",
    "max-http-connections",
    "address-http-connections",
    "max-http2-streams",
    "http2-idle-timeout",
    "max-events",
    "max-task-bytes",
    "finished-ttl",
    "pinned-ttl",
    "idle-ttl",
    "max-total-bytes",
    "max-clients-bytes",
    "client-bytes",
    "max-event-bytes",
    "idempotency-ids",
    "idempotency-ttl",
    "data-dir",
    "sync",
    "max-stored-task-bytes",
    "max-stored-bytes",
    "stored-ttl",
    "backup-dir",
    "heartbeat-interval",
    "write-timeout",
    "offline-ttl",
    "max-connections",
    "max-subscriptions",
    "max-message-bytes",
    "max-body-bytes",
    "max-unread-bytes",
    "skip-behind",
    "inbox-messages",
    "header-timeout",
    "body-timeout",
    "drain-window",
    "drain-deadline",
];

/// Writes a file with this text into a directory that `cargo clean` removes.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn help_names_every_option_and_its_variable() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["demo", "--help"]] {
        let output = finish(&mut tidings(arguments));
        assert_eq!(output.status.code(), Some(0));
        // The help text may be wrapped at any word.
        let help = String::from_utf8(output.stdout).unwrap();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for option in OPTIONS {
            let variable = format!("[env: TIDINGS_{}]", option.replace('-', "_").to_uppercase());
            assert!(
                [" <", "[=<"]
                    .iter()
                    .any(|value| help.contains(&format!("--{option}{value}"))),
                "{arguments:?} --{option}\n{help}"
            );
            assert!(help.contains(&variable), "{arguments:?} {variable}\n{help}");
        }
        assert_eq!(help.matches("[env: ").count(), OPTIONS.len(), "{help}");
        assert!(help.contains("Examples:"), "{help}");
    }
}

#[test]
fn version_is_printed() {
    let output = finish(&mut tidings(&["--version"]));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        output.stdout,
        format!("tidings {}\n", env!("CARGO_PKG_VERSION")).as_bytes()
    );
}

#[test]
fn an_unknown_flag_is_refused() {
    for arguments in [
        &["--max-evnts", "5"][..],
        &["demo", "--max-evnts=5"],
        &["--once"],
    ] {
        let stderr = refusal(&mut tidings(arguments), 64);
        let flag = arguments
            .iter()
            .find(|text| text.starts_with("--"))
            .unwrap();
        let name = flag.split('=').next().unwrap();
        assert!(stderr.contains(name), "{stderr}");
    }
    assert!(refusal(&mut tidings(&["sevre"]), 64).contains("sevre"));
}

#[test]
fn an_unknown_variable_is_refused() {
    let stderr = refusal(tidings(&[]).env("TIDINGS_MAX_EVNTS", "5"), 64);
    assert!(stderr.contains("TIDINGS_MAX_EVNTS"), "{stderr}");
    assert!(stderr.contains("tidings --help"), "{stderr}");
}

/// A Kubernetes Service with the name `tidings` sets these variables in every pod beside it.
#[test]
fn variables_of_services_are_left_alone() {
    let injected = [
        ("TIDINGS_SERVICE_HOST", "10.0.0.11"),
        ("TIDINGS_SERVICE_PORT", "8000"),
        ("TIDINGS_SERVICE_PORT_HTTP", "8000"),
        ("TIDINGS_PORT", "tcp://10.0.0.11:8000"),
        ("TIDINGS_PORT_8000_TCP", "tcp://10.0.0.11:8000"),
        ("TIDINGS_PORT_8000_TCP_PROTO", "tcp"),
        ("TIDINGS_PORT_8000_TCP_PORT", "8000"),
        ("TIDINGS_PORT_8000_TCP_ADDR", "10.0.0.11"),
        // A container `tidings` that Docker links sets these.
        ("TIDINGS_NAME", "/web/tidings"),
        ("TIDINGS_ENV_MAX_EVNTS", "5"),
        ("TIDINGS_PORT_8000_TCP_START", "tcp://172.17.0.2:8000"),
        ("TIDINGS_PORT_8000_TCP_PORT_END", "8010"),
        ("TIDINGS_1_PORT", "tcp://172.17.0.2:8000"),
    ];
    let server = Server::start(tidings(&["--listen", "127.0.0.1:0"]).envs(injected));
    let url = format!("http://{}", server.addr());
    let output = finish(tidings(&["tasks", "--url", &url]).envs(injected));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = finish(tidings(&["check-config"]).envs(injected));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(refusal(tidings(&[]).env("TIDINGS_PORT", "8000"), 64).contains("TIDINGS_PORT"));
}

#[test]
fn an_unknown_key_is_refused() {
    for (name, text) in [
        ("unknown.toml", "max-evnts = 5"),
        ("underscore.toml", "max_events = 5"),
        ("table.toml", "[tasks]\nmax-events = 5"),
        ("config.toml", "config = \"other.toml\""),
    ] {
        let path = file(name, text);
        let stderr = refusal(tidings(&["--config"]).arg(&path), 64);
        let key = text
            .split([' ', '[', ']'])
            .find(|text| !text.is_empty())
            .unwrap();
        assert!(stderr.contains(&format!("`{key}`")), "{stderr}");
        assert!(stderr.contains(path.to_str().unwrap()), "{stderr}");
    }
}

#[test]
fn an_impossible_value_is_refused_under_its_name() {
    for (option, value, expected) in [
        ("listen", "localhost", "an address and a port"),
        ("max-events", "0", "must be at least 1"),
        ("max-events", "many", "a whole number"),
        ("max-task-bytes", "1KB", "must be at least 1.0 KiB"),
        ("heartbeat-interval", "25", "a time with its unit"),
        ("heartbeat-interval", "1ms", "must be at least 10ms"),
        ("idle-ttl", "11y", "must be at most 3650d"),
        ("log", "tidings=loud", "a log filter"),
        (
            "allow-origin",
            "https://app.example/",
            "as https://app.example:",
        ),
    ] {
        let stderr = refusal(&mut tidings(&[&format!("--{option}"), value]), 64);
        assert!(stderr.contains(&format!("--{option}")), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");

        let variable = format!("TIDINGS_{}", option.replace('-', "_").to_uppercase());
        for arguments in [&[][..], &["demo"]] {
            let stderr = refusal(tidings(arguments).env(&variable, value), 64);
            assert!(stderr.contains(&variable), "{stderr}");
            assert!(stderr.contains(expected), "{stderr}");
        }

        let name = format!(
            "impossible-{option}-{}.toml",
            value.replace(['/', ':'], "_")
        );
        // The value is a list over several lines, so the line with the error does not show the key.
        let value = if option == "allow-origin" {
            format!("[\n{value:?}\n]")
        } else {
            format!("{value:?}")
        };
        let path = file(&name, &format!("{option} = {value}"));
        let stderr = refusal(tidings(&["--config"]).arg(&path), 64);
        assert!(stderr.contains(option), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(stderr.contains(&name), "{stderr}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_under_its_name() {
    for (text, expected) in [
        ("max-events = true", "a whole number"),
        ("max-events = 0", "must be at least 1"),
        ("max-events = -5", "a whole number"),
        ("max-task-bytes = 1.5", "a size such as"),
        ("offline-ttl = 300", "a time with its unit"),
        ("listen = 8000", "an address and a port"),
        ("allow-origin = \"https://app.example\"", "a sequence"),
        ("max-events = ", "max-events"),
    ] {
        let name = format!("type-{}.toml", text.replace([' ', '"', '/', ':', '='], ""));
        let path = file(&name, text);
        let stderr = refusal(tidings(&["--config"]).arg(&path), 64);
        assert!(stderr.contains(text.split(' ').next().unwrap()), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(stderr.contains(&name), "{stderr}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let stderr = refusal(&mut tidings(&["--config", "/nowhere/tidings.toml"]), 66);
    assert!(stderr.contains("/nowhere/tidings.toml"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}
