//! What is served, and with which headers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidings_web::{asset, assets};

fn header(path: &str, name: &str) -> Option<&'static str> {
    let mut headers = asset(path).unwrap().headers();
    headers
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path);
        }
    }
}

#[test]
fn everything_that_was_built_is_embedded_as_it_is() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("ui/dist");
    let mut built = BTreeSet::new();
    files(&dist, &mut built);
    for file in assets() {
        let path = dist.join(&file.path[1..]);
        assert_eq!(fs::read(&path).unwrap(), file.body, "{}", file.path);
        assert!(built.remove(&path), "{} is there twice", file.path);
    }
    assert!(built.is_empty(), "these are not embedded: {built:?}");
}

#[test]
fn pages_are_at_the_root_and_at_every_task() {
    for path in [
        "/",
        "/index.html",
        "/connections",
        "/tasks/build-7",
        "/tasks/a%2Fb",
        "/tasks/~:._-",
    ] {
        assert_eq!(
            header(path, "content-type"),
            Some("text/html; charset=utf-8"),
            "{path}"
        );
    }
    for path in [
        "",
        "/tasks",
        "/tasks/",
        "/tasks/a/b",
        "/index",
        "/assets/",
        "//",
        "/../Cargo.toml",
    ] {
        assert!(asset(path).is_none(), "{path}");
    }
}

#[test]
fn the_client_is_a_module_that_can_be_imported() {
    assert_eq!(
        header("/tidings.js", "content-type"),
        Some("text/javascript; charset=utf-8")
    );
    let text = std::str::from_utf8(asset("/tidings.js").unwrap().body).unwrap();
    assert!(text.contains("TidingsClient"));
    assert!(!text.contains("import"), "it stands alone");
}

#[test]
fn nothing_is_loaded_from_elsewhere_and_nothing_inline_runs() {
    let page = std::str::from_utf8(asset("/").unwrap().body).unwrap();
    for loaded in page.split("src=\"").chain(page.split("href=\"")).skip(1) {
        assert!(
            loaded.starts_with('/') || loaded.starts_with('<'),
            "{loaded}"
        );
    }
    assert!(!page.contains("<style") && !page.contains(" style="));
    for script in page.split("<script").skip(1) {
        assert!(script.contains("src=\"/"), "{script}");
    }
    let policy = header("/", "content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "));
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"));
}

#[test]
fn names_of_contents_differ_and_are_quoted() {
    let mut seen = BTreeSet::new();
    for file in assets() {
        assert!(file.etag.len() > 10 && file.etag.starts_with('"') && file.etag.ends_with('"'));
        assert!(seen.insert(file.etag), "{}", file.path);
    }
}
