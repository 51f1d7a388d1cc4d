//! The real server shows its pages.

use crate::support::{Server, exchange, tidings};

fn get(addr: &str, path: &str) -> String {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {addr}\r\naccept: text/html\r\nconnection: close\r\n\r\n"
    );
    exchange(addr, request.as_bytes())
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
