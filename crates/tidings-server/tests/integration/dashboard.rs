//! The real server serves its dashboard.

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

/// Returns the head of a response to a request with these header lines.
fn head(addr: &str, path: &str, lines: &str) -> String {
    let request =
        format!("HEAD {path} HTTP/1.1\r\nhost: {addr}\r\n{lines}connection: close\r\n\r\n");
    exchange(addr, request.as_bytes())
}

#[test]
fn pages_come_compressed_to_those_who_can_read_that() {
    let server = Server::start(&mut tidings(&["--listen", "127.0.0.1:0"]));
    let plain = head(server.addr(), "/tidings.js", "");
    assert!(!plain.contains("content-encoding"), "{plain}");
    let brotli = head(
        server.addr(),
        "/tidings.js",
        "accept-encoding: gzip, br\r\n",
    );
    assert!(brotli.contains("content-encoding: br\r\n"), "{brotli}");
    let gzip = head(
        server.addr(),
        "/tidings.js",
        "accept-encoding: gzip\r\naccept-encoding: br;q=0\r\n",
    );
    assert!(gzip.contains("content-encoding: gzip\r\n"), "{gzip}");
    for answer in [&plain, &brotli, &gzip] {
        assert!(answer.contains("vary: accept-encoding"), "{answer}");
    }
}

#[test]
fn a_browser_is_told_by_a_page_that_there_is_none() {
    let server = Server::start(&mut tidings(&["--listen", "127.0.0.1:0"]));
    let page = get(server.addr(), "/tasks/a/b");
    assert!(page.starts_with("HTTP/1.1 404"), "{page}");
    assert!(page.contains("<div id=\"root\">"), "{page}");
    let etag = page.lines().find(|line| line.starts_with("etag:"));
    let again = format!(
        "accept: text/html\r\nif-none-match: {}\r\n",
        etag.and_then(|line| line.split_once(' ')).unwrap().1
    );
    let again = head(server.addr(), "/tasks/a/b", &again);
    assert!(again.starts_with("HTTP/1.1 404"), "{again}");
    for (path, accept) in [("/tasks/a/b", "*/*"), ("/api/nonsense", "text/html")] {
        let problem = head(server.addr(), path, &format!("accept: {accept}\r\n"));
        assert!(problem.starts_with("HTTP/1.1 404"), "{problem}");
        assert!(problem.contains("application/problem+json"), "{problem}");
    }
}
