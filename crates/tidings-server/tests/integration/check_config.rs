//! `tidings check-config` reports the same errors as `serve`, without serving.

use std::fs;

use crate::support::{finish, refusal, tidings};

fn prints(arguments: &[&str], variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let words = [&["check-config"], arguments].concat();
    let output = finish(tidings(&words).envs(variables.iter().copied()));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // The output is a valid configuration file.
    text.parse::<toml::Table>().unwrap();
    text.lines()
        .map(|line| {
            let (assignment, from) = line.rsplit_once('#').unwrap();
            (assignment.trim().to_owned(), from.trim().to_owned())
        })
        .collect()
}

#[test]
fn what_is_in_force_is_told_with_where_it_is_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidings.toml");
    fs::write(
        &file,
        "max-events = 500\nmax-task-bytes = \"1MiB\"\nallow-origin = [\"https://a.example\", \"https://b.example\"]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let lines = prints(
        &["--config", file, "--max-task-bytes", "2MiB"],
        &[
            ("TIDINGS_OFFLINE_TTL", "7m"),
            ("TIDINGS_REDIS", "redis://ada:s3cret@127.0.0.1:1"),
        ],
    );
    for (assignment, from) in [
        ("max-events = \"500\"", "file"),
        ("max-task-bytes = \"2MiB\"", "flag"),
        ("offline-ttl = \"7m\"", "variable"),
        (
            "allow-origin = \"https://a.example,https://b.example\"",
            "file",
        ),
        ("heartbeat-interval = \"25s\"", "default"),
        // The server is reachable from its own machine only, so there are no limits.
        ("message-rate = \"0\"", "default"),
        ("redis = \"redis://\u{2026}@127.0.0.1:1\"", "variable"),
    ] {
        let line = (assignment.to_owned(), from.to_owned());
        assert!(lines.contains(&line), "{line:?} in {lines:#?}");
    }
    assert!(!format!("{lines:?}").contains("s3cret"));
    let strangers = prints(&["--listen", "0.0.0.0:1", "--allow-anonymous"], &[]);
    let line = ("message-rate = \"2000\"".to_owned(), "default".to_owned());
    assert!(strangers.contains(&line), "{strangers:#?}");
}

#[test]
fn what_would_not_start_is_refused_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let file = path("tidings.toml", "max-event = 1\n");
    let empty = path("empty", "");
    let nothing = folder.path().join("nothing");
    let nothing = nothing.to_str().unwrap();
    for (arguments, expected) in [
        (&["--config", &file][..], "max-event"),
        (&["--config", nothing], "cannot be read"),
        (&["--listen", "0.0.0.0:8000"], "refusing to listen"),
        (&["--auth", "jwt"], "--jwt-key"),
        (&["--auth", "jwt", "--jwt-key", &empty], "no usable key"),
        (&["--auth", "jwt", "--jwt-key", nothing], "cannot be read"),
        (
            &["--auth", "jwt", "--jwt-key", "http://keys.example/"],
            "is invalid",
        ),
        (&["--auth", "keys", "--api-keys", &file], "no usable keys"),
        (
            &["--tls-cert", &empty, "--tls-key", &empty],
            "no certificate",
        ),
        (&["--tls-cert", &empty], "--tls-key"),
        (&["--data-dir", &empty], "must be a directory"),
        (
            &["--data-dir", "data", "--redis", "redis://127.0.0.1:1"],
            "not in both",
        ),
        (&["--allow-origin", "https://a.example/path"], "origin"),
    ] {
        let words = [&["check-config"], arguments].concat();
        let text = refusal(&mut tidings(&words), 64);
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}
