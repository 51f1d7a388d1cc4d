//! The real server shows its pages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::{DEADLINE, Server, tidings};

fn get(addr: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: text/html\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_browser_finds_the_dashboard_a_tasks_page_and_the_client() {
    let server = Server::start(&mut tidings(&["--listen", "127.0.0.1:0"]));
    for path in ["/", "/tasks/test_001"] {
        let page = get(server.addr(), path);
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        assert!(page.contains("<div id=\"root\">"), "{path}");
        assert!(page.contains("content-security-policy: default-src 'none'"));
        for loaded in page.split('"').filter(|text| text.starts_with("/assets/")) {
            assert!(
                get(server.addr(), loaded).starts_with("HTTP/1.1 200"),
                "{loaded}"
            );
        }
    }
    let client = get(server.addr(), "/tidings.js");
    assert!(client.contains("content-type: text/javascript"));
}
