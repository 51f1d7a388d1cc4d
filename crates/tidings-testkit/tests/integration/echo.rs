//! The echo server for test suites of RFC 6455 echoes messages.

use std::path::PathBuf;
use std::process::Stdio;

use futures_util::{SinkExt as _, StreamExt as _};
use tidings_testkit::DEADLINE;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// Returns the path of the program, which cargo builds before it runs the tests of this package.
fn echo() -> Command {
    let mut path: PathBuf = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    path.push(format!("echo{}", std::env::consts::EXE_SUFFIX));
    Command::new(path)
}

#[tokio::test]
async fn it_sends_text_and_binary_back() {
    let mut server = echo()
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap();
    let line = line.unwrap().unwrap();
    let addr = line.strip_prefix("listening on http://").unwrap();
    let connect = tokio_tungstenite::connect_async(format!("ws://{addr}/"));
    let (mut stream, _) = timeout(DEADLINE, connect).await.unwrap().unwrap();
    for sent in [Message::text("words"), Message::binary(vec![0, 255, 7])] {
        stream.send(sent.clone()).await.unwrap();
        let got = timeout(DEADLINE, stream.next()).await.unwrap();
        assert_eq!(got.unwrap().unwrap(), sent);
    }
}
