//! `wss://` of the real server with a private certificate authority. Certificates are replaced
//! while a client stays connected, and clients are told which authority to trust.

#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{Server, finish, refusal, tidings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tidings_client::protocol::TaskId;
use tidings_client::{Client, Status, Update, Watch};
use tidings_testkit::{Checker, DEADLINE};

/// A certificate authority, and the certificates that it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Returns the authority's certificate, which clients trust.
    fn pem(&self) -> String {
        self.0.as_ref().pem()
    }
}

/// A server with a certificate in files that the test can rewrite.
struct Secured {
    server: Server,
    folder: tempfile::TempDir,
}

impl Secured {
    fn start(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), authority);
        let chain = folder.path().join("chain.pem");
        let key = folder.path().join("key.pem");
        let mut command = tidings(&["--listen", "127.0.0.1:0", "--tls-cert"]);
        let server = Server::start(command.arg(&chain).arg("--tls-key").arg(&key));
        Self { server, folder }
    }

    fn url(&self) -> String {
        let port = self.server.addr().rsplit(':').next().unwrap();
        format!("https://localhost:{port}")
    }

    /// Returns a file with the certificate that clients are to trust.
    fn ca(&self, authority: &Authority) -> PathBuf {
        let path = self.folder.path().join("ca.pem");
        fs::write(&path, authority.pem()).unwrap();
        path
    }

    fn client(&self, believes: &Authority) -> Client {
        Client::builder(self.url())
            .root_certificates(believes.pem())
            .build()
            .unwrap()
    }

    /// Waits until a client that trusts this authority can connect. The server checks its files
    /// regularly.
    async fn accepts(&self, authority: &Authority) {
        let client = self.client(authority);
        let connected = tokio::time::timeout(DEADLINE, client.connected()).await;
        connected.expect("the certificate is exchanged").unwrap();
    }

    /// Checks that a client that trusts only this authority ends the handshake.
    async fn is_not_believed(&self, authority: &Authority) {
        let client = self.client(authority);
        let mut status = client.watch_status();
        let waiting = status.wait_for(|status| matches!(status, Status::Waiting(_)));
        let waiting = tokio::time::timeout(DEADLINE, waiting).await.unwrap();
        let text = format!("{:?}", *waiting.unwrap());
        assert!(text.contains("InvalidCertificate"), "{text}");
    }

    async fn publish(&self, authority: &Authority) {
        let client = self.client(authority);
        let event = serde_json::from_str(r#"{"event_type":"own","data":{}}"#).unwrap();
        client.publish(&task(), event).await.unwrap();
    }
}

/// Writes another certificate for this machine, and its key.
fn write(folder: &Path, authority: &Authority) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority.0).unwrap();
    fs::write(folder.join("chain.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

fn task() -> TaskId {
    "build-1".parse().unwrap()
}

/// Expects the next event to have the next offset, on the same connection.
async fn next(watch: &mut Watch, checker: &mut Checker) {
    loop {
        let update = tokio::time::timeout(DEADLINE, watch.recv()).await.unwrap();
        match update.unwrap().expect("the watch goes on") {
            Update::Event(event) => return checker.event(event.offset.get()).unwrap(),
            Update::Snapshot(_) => {}
            other => panic!("the watcher was not left alone: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_watcher_stays_while_the_certificate_is_exchanged_by_signal_and_by_file() {
    let authorities = [Authority::new(), Authority::new(), Authority::new()];
    let secured = Secured::start(&authorities[0]);
    let watcher = secured.client(&authorities[0]);
    let mut watch = watcher.watch(task());
    watcher.connected().await.unwrap();
    let mut checker = Checker::from(1);
    secured.publish(&authorities[0]).await;
    next(&mut watch, &mut checker).await;

    write(secured.folder.path(), &authorities[1]);
    secured.server.signal("HUP");
    secured.accepts(&authorities[1]).await;
    secured.is_not_believed(&authorities[0]).await;
    secured.publish(&authorities[1]).await;
    next(&mut watch, &mut checker).await;

    // No signal is sent. The server notices the new files within its regular check.
    write(secured.folder.path(), &authorities[2]);
    secured.accepts(&authorities[2]).await;
    secured.is_not_believed(&authorities[1]).await;
    secured.publish(&authorities[2]).await;
    next(&mut watch, &mut checker).await;
    assert_eq!(checker.delivered(), 3);

    secured.server.signal("TERM");
    let code = secured.server.wait();
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn the_command_line_believes_whom_it_is_told_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let secured = Secured::start(&authority);
    let url = secured.url();
    let publish = |ca: &Path| -> Output {
        let words = [
            "publish",
            "build-1",
            "own",
            "--timeout",
            "2s",
            "--url",
            &url,
        ];
        finish(tidings(&words).arg("--ca").arg(ca))
    };
    let done = publish(&secured.ca(&authority));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let tasks =
        finish(tidings(&["tasks", "--url", &url]).env("TIDINGS_CA", secured.ca(&authority)));
    assert!(
        String::from_utf8_lossy(&tasks.stdout).contains("build-1"),
        "{tasks:?}"
    );
    let refused = publish(&secured.ca(&other));
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("invalid peer certificate"), "{stderr}");
}

#[test]
fn a_bench_speaks_tls_and_believes_whom_it_is_told_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let secured = Secured::start(&authority);
    let url = secured.url();
    let bench = |ca: &Path| {
        let words = [
            "bench",
            "--connections",
            "2",
            "--duration",
            "50ms",
            "--url",
            &url,
        ];
        finish(tidings(&words).arg("--ca").arg(ca))
    };
    let done = bench(&secured.ca(&authority));
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let refused = bench(&secured.ca(&other));
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(stderr.contains("invalid peer certificate"), "{stderr}");
}

#[test]
fn a_file_that_has_no_certificate_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let words = ["tasks", "--url", "https://localhost:1", "--ca"];
    let text = refusal(tidings(&words).arg(&path), 66);
    assert!(text.contains("ca.pem cannot be read"), "{text}");
    for wrong in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        fs::write(&path, wrong).unwrap();
        let text = refusal(tidings(&words).arg(&path), 64);
        assert!(text.contains("no certificate of an authority"), "{text}");
    }
}
