//! The address on which the server listens, and the option that sets it.

use std::fs;
use std::path::PathBuf;

use crate::support::{Server, exchange, finish, refusal, tidings};

/// Returns the server's response to a request.
fn get(addr: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    exchange(addr, request.as_bytes())
}

#[test]
fn the_first_line_says_where_it_listens() {
    for arguments in [
        &["--listen", "127.0.0.1:0"][..],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let server = Server::start(&mut tidings(arguments));
        let port: u16 = server
            .addr()
            .strip_prefix("127.0.0.1:")
            .unwrap()
            .parse()
            .unwrap();
        assert_ne!(port, 0);
        assert!(get(server.addr(), "/healthz").starts_with("HTTP/1.1 200"));

        let hints: Vec<_> = (0..6).map(|_| server.line()).collect();
        let url = format!("ws://127.0.0.1:{port}/ws/tasks/test_001");
        assert!(hints.iter().any(|line| line.contains(&url)), "{hints:?}");
    }
}

#[test]
fn all_addresses_are_shown_with_one_that_can_be_reached() {
    let server = Server::start(&mut tidings(&[
        "--listen",
        "0.0.0.0:0",
        "--allow-anonymous",
    ]));
    let port = server.addr().strip_prefix("0.0.0.0:").unwrap();
    assert_eq!(server.line(), "");
    assert!(server.line().contains(&format!("http://127.0.0.1:{port}/")));
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("precedence.toml");
    fs::write(&path, "listen = \"127.0.0.2:0\"").unwrap();
    let config = path.to_str().unwrap();
    for command in [None, Some("serve"), Some("demo")] {
        let arguments = |more: &[&'static str]| {
            let mut all: Vec<_> = command.into_iter().collect();
            all.extend(more);
            all
        };
        let file = Server::start(tidings(&arguments(&[])).args(["--config", config]));
        assert!(
            file.addr().starts_with("127.0.0.2:"),
            "{command:?}: {}",
            file.first_line
        );

        // An environment variable may name the configuration file.
        let variable = Server::start(
            tidings(&arguments(&[]))
                .env("TIDINGS_CONFIG", config)
                .env("TIDINGS_LISTEN", "127.0.0.3:0"),
        );
        assert!(
            variable.addr().starts_with("127.0.0.3:"),
            "{command:?}: {}",
            variable.first_line
        );

        let flag = Server::start(
            tidings(&arguments(&["--listen", "127.0.0.4:0"]))
                .env("TIDINGS_CONFIG", config)
                .env("TIDINGS_LISTEN", "127.0.0.3:0"),
        );
        assert!(
            flag.addr().starts_with("127.0.0.4:"),
            "{command:?}: {}",
            flag.first_line
        );
    }
}

#[test]
fn variables_of_the_clients_may_be_set() {
    let server = Server::start(
        tidings(&["--listen", "127.0.0.1:0"])
            .env("TIDINGS_URL", "ws://127.0.0.1:8000")
            .env("TIDINGS_TOKEN", "secret"),
    );
    assert!(server.addr().starts_with("127.0.0.1:"));
}

#[test]
fn a_second_server_on_the_same_port_says_so() {
    let first = Server::start(&mut tidings(&["--listen", "127.0.0.1:0"]));
    let stderr = refusal(&mut tidings(&["--listen", first.addr()]), 69);
    assert!(
        stderr.contains(&format!("cannot listen on {}", first.addr())),
        "{stderr}"
    );
    assert!(stderr.contains("in use"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn listening_beyond_this_machine_is_warned_of() {
    // The address does not belong to this machine, so the command ends with an error.
    let listen = ["--listen", "192.0.2.1:0", "--allow-anonymous"];
    let output = finish(&mut tidings(&listen));
    assert_eq!(output.status.code(), Some(69));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("everybody who reaches this address"),
        "{stderr}"
    );
    assert!(stderr.contains("cannot listen on 192.0.2.1:0"), "{stderr}");
}
