//! A reload applies the settings that can change and names the others. It is applied as a whole or
//! not at all.

use std::fs;
use std::path::PathBuf;

use tidings_node::NodeConfigError;
use tidings_testkit::TestServer;

/// A node with a configuration file that the test rewrites.
struct Running {
    server: TestServer,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start(file: &str, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidings.toml");
        fs::write(&path, file).unwrap();
        let options = [&[("config", path.to_str().unwrap())], more].concat();
        Self {
            server: TestServer::start_with(&options).await,
            file: path,
            _folder: folder,
        }
    }

    /// Writes another file and reloads. Returns the changed options and the unchanged ones.
    fn reload(&self, file: &str) -> Result<(Vec<String>, Vec<String>), NodeConfigError> {
        fs::write(&self.file, file).unwrap();
        let reloaded = self.server.reload_handle().reload()?;
        Ok((reloaded.changed, reloaded.kept))
    }

    async fn status_for_a_friend(&self) -> u16 {
        let origin = [("origin", "https://friend.example")];
        self.server
            .http("GET", "/api/tasks", &origin, "")
            .await
            .status
    }
}

#[tokio::test]
async fn what_cannot_change_is_named_and_kept_and_a_mistake_changes_nothing() {
    let given = [("client-byte-rate", "1MiB")];
    let node = Running::start("max-events = 100\n", &given).await;
    assert_eq!(node.status_for_a_friend().await, 403);
    let file = "max-events = 200\nallow-origin = [\"https://friend.example\"]\n";
    let (changed, kept) = node.reload(file).unwrap();
    assert_eq!(changed, ["allow-origin"]);
    assert_eq!(kept, ["max-events"]);
    assert_eq!(node.status_for_a_friend().await, 200);
    for wrong in ["max-event = 1\n", "allow-origin = [\"nonsense\"]\n"] {
        let error = node.reload(wrong).unwrap_err();
        assert!(
            matches!(error, NodeConfigError::FileWrong { .. }),
            "{error}"
        );
        assert_eq!(node.status_for_a_friend().await, 200);
    }
    // Nothing has changed since the last valid file.
    let (changed, kept) = node.reload(file).unwrap();
    assert_eq!((changed.len(), kept.len()), (0, 0));
    node.server.stop().await;
}

#[tokio::test]
async fn what_was_given_wins_over_another_file() {
    let node = Running::start("", &[("client-message-rate", "1000000")]).await;
    let (changed, kept) = node.reload("client-message-rate = 1\n").unwrap();
    assert_eq!((changed.len(), kept.len()), (0, 0));
    for _ in 0..5 {
        assert_eq!(node.server.get("/api/tasks").await.status, 200);
    }
    node.server.stop().await;
}
