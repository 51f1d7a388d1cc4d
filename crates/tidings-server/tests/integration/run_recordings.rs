//! `tidings run` does not change the output of real tools, with and without a terminal.

#![cfg(unix)]

use std::path::Path;

use crate::support::{finish, tidings};

#[test]
fn the_bytes_of_twenty_tools_pass_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tidings-cli/tests/recordings");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for pty in ["always", "never"] {
            let mut run = tidings(&["run", "--url", "http://127.0.0.1:1", "--linger", "0s"]);
            let output = finish(run.args(["--quiet", "--pty", pty, "--", "cat"]).arg(&path));
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert!(output.stdout == bytes, "{} --pty {pty}", path.display());
        }
        count += 1;
    }
    assert_eq!(count, 20);
}
