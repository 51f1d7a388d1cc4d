//! A Redis that requires a password, and a Redis behind TLS.
#![cfg(unix)]

use crate::support::{self, Server, tidings};
use serde_json::json;
use tidings_testkit::{RedisServer, TestClient, http_exchange};

/// The permissions that the page on clustering lists for the Redis user.
const MAY: &str = "~{tidings:* &{tidings:* +@read +@write +@scripting +@pubsub +@connection \
                   +info +role +time +publish +spublish +cluster +config|get";

/// Checks that two nodes over this Redis can publish, watch, send and list.
async fn works(url: &str, variables: &[(&str, &str)]) {
    let start = || {
        let mut command = tidings(&["--listen", "127.0.0.1:0"]);
        command
            .env("TIDINGS_REDIS", url)
            .envs(variables.iter().copied());
        Server::start(&mut command)
    };
    let (a, b) = (start(), start());
    for server in [&a, &b] {
        let ready = async {
            while get(server, "/readyz").await.0 != 200 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(support::DEADLINE, ready).await;
        in_time.expect("it reaches Redis in time");
    }
    let mut watcher = TestClient::connect(format!("ws://{}/ws?client_id=me", a.addr())).await;
    watcher.until("connection_established").await;
    let pattern = json!({"type": "subscribe", "pattern": "t*"});
    watcher.send(&pattern).await;
    watcher.until("subscribed").await;
    let event = json!({"event_type": "log", "data": {"message": "hello"}});
    assert_eq!(post(&b, "/api/tasks/t/events", &event).await, 201);
    watcher.until("log").await;
    let note = json!({"event_type": "note", "data": {}});
    assert_eq!(post(&b, "/api/connections/me/messages", &note).await, 202);
    watcher.until("personal_message").await;
    let (_, list) = get(&b, "/api/connections").await;
    assert_eq!(list["connections"][0]["client_id"], "me", "{list}");
}

async fn get(server: &Server, path: &str) -> (u16, serde_json::Value) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let addr = server.addr().parse().unwrap();
    let response = http_exchange(addr, request.as_bytes()).await;
    (response.status, response.json())
}

async fn post(server: &Server, path: &str, body: &serde_json::Value) -> u16 {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let addr = server.addr().parse().unwrap();
    http_exchange(addr, request.as_bytes()).await.status
}

#[tokio::test]
async fn a_user_who_may_do_no_more_than_is_needed() {
    let mut user = vec!["--save", "", "--user", "tidings", "on", ">secret"];
    user.extend(MAY.split_whitespace());
    let redis = RedisServer::with(&user);
    let url = format!("redis://tidings:secret@127.0.0.1:{}", redis.port());
    works(&url, &[]).await;
}

#[tokio::test]
async fn over_tls_to_a_certificate_of_ones_own() {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let certificate = directory.path().join("cert.pem");
    let key = directory.path().join("key.pem");
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    // A free port for TLS. The server's own port stays plain, so that the test can query it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let port = port.to_string();
    let redis = RedisServer::with(&[
        "--save",
        "",
        "--tls-port",
        &port,
        "--tls-cert-file",
        certificate,
        "--tls-key-file",
        key,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    works(&url, &[("SSL_CERT_FILE", certificate)]).await;
    drop(redis);
}
