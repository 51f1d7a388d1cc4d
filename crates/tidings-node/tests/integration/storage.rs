//! Tasks in a directory: the next node finds them, and two nodes never share a directory.

use tidings_node::{Node, NodeConfig, NodeConfigError, Options, StartError};
use tidings_testkit::TestServer;

#[tokio::test]
async fn the_next_node_finds_the_tasks_and_two_have_never_one_directory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let options = [("data-dir", data.to_str().unwrap())];
    let server = TestServer::start_with(&options).await;
    let event = r#"{"event_type":"log","data":{"message":"hello"}}"#;
    let published = server.http("POST", "/api/tasks/t/events", &[], event).await;
    assert_eq!(published.status, 201, "{}", published.text());

    let mut config = NodeConfig::default();
    config.data_dir = Some(data.clone());
    config.listen.set_port(0);
    let error = Node::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Store(_)), "{error}");
    assert_eq!(error.exit_code(), 75);
    assert_eq!(server.stop().await, 0);

    let server = TestServer::start_with(&options).await;
    let task = server.get("/api/tasks/t").await.json();
    assert_eq!(task["offset"], 1, "{task}");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_work_is_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    for (options, expected) in [
        (&[("listen", "0.0.0.0:0")][..], "refusing to listen"),
        (&[("auth", "jwt")], "--jwt-key"),
        (&[("auth", "jwt"), ("jwt-key", file)], "no usable key"),
        (
            &[("auth", "keys"), ("api-keys", "/nowhere")],
            "cannot be read",
        ),
        (&[("tls-cert", file), ("tls-key", file)], "no certificate"),
        (&[("tls-cert", file)], "--tls-key"),
        (&[("data-dir", file)], "must be a directory"),
        (
            &[("data-dir", "data"), ("redis", "redis://127.0.0.1:1")],
            "not in both",
        ),
        (&[("backup-dir", "backups")], "nothing to back up"),
    ] {
        let mut set = Options::default();
        for (name, value) in options {
            set.set(name, value).unwrap();
        }
        let checked = NodeConfig::load(set).and_then(|config| config.check());
        let error: NodeConfigError = checked.unwrap_err();
        let text = tidings_node::chain(&error);
        assert!(text.contains(expected), "{options:?}: {text}");
    }
}
