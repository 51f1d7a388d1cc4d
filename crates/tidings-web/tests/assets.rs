//! The files that are served, and their headers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidings_web::{asset, assets};

fn header(path: &str, name: &str) -> Option<&'static str> {
    let asset = asset(path).unwrap();
    asset
        .headers(asset.plain())
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
        for content in file.representations {
            let suffix = content
                .encoding
                .map_or(String::new(), |name| format!(".{name}"));
            let path = dist.join(format!("{}{suffix}", &file.path[1..]));
            assert_eq!(fs::read(&path).unwrap(), content.body, "{}", file.path);
            assert!(built.remove(&path), "{} is there twice", file.path);
        }
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
    let text = text("/tidings.js");
    assert!(text.contains("TidingsClient"));
    assert!(
        !["}from\"", "import{", "import\"", "import*"]
            .iter()
            .any(|import| text.contains(import)),
        "it stands alone"
    );
}

fn text(path: &str) -> &'static str {
    std::str::from_utf8(asset(path).unwrap().plain().body).unwrap()
}

#[test]
fn a_client_gets_the_smallest_representation_that_it_accepts() {
    for file in assets() {
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip, deflate", Some("gzip")),
            ("br;q=0, gzip", Some("gzip")),
            ("deflate", None),
            ("", None),
        ] {
            let content = file.representation(accepted);
            assert_eq!(content.encoding, expected, "{} for {accepted:?}", file.path);
            let told = file
                .headers(content)
                .find(|(name, _)| *name == "content-encoding");
            assert_eq!(told.map(|(_, value)| value), expected, "{}", file.path);
        }
        let sizes: Vec<usize> = file
            .representations
            .iter()
            .map(|content| content.body.len())
            .collect();
        assert!(sizes.is_sorted(), "{}: {sizes:?}", file.path);
    }
}

#[test]
fn hashed_names_are_kept_for_good_and_pages_are_asked_for_again() {
    let mut hashed = 0;
    for file in assets() {
        let cache = header(file.path, "cache-control").unwrap();
        assert_eq!(header(file.path, "vary"), Some("accept-encoding"));
        if file.path.starts_with("/assets/") {
            hashed += 1;
            assert_eq!(
                cache, "public, max-age=31536000, immutable",
                "{}",
                file.path
            );
        } else {
            assert_eq!(cache, "no-cache", "{}", file.path);
        }
    }
    assert!(hashed >= 2, "the dashboard and its style have hashed names");
}

/// Returns what a page loads, as paths from the root of the server.
fn loaded(path: &str, page: &str) -> Vec<String> {
    let depth = path.matches('/').count() - 1;
    let attributes = page.split("src=\"").skip(1);
    let attributes = attributes.chain(page.split("href=\"").skip(1));
    let named = attributes.map(|rest| rest.split('"').next().unwrap());
    let up = "../".repeat(depth);
    let own = |name: &str| match depth {
        0 => name.strip_prefix("./").map(str::to_owned),
        _ => name.strip_prefix(&up).map(str::to_owned),
    };
    let found = named.map(|name| own(name).unwrap_or_else(|| panic!("{path} names {name}")));
    found.map(|name| format!("/{name}")).collect()
}

#[test]
fn pages_of_every_depth_load_the_same_files_of_this_server() {
    let root = loaded("/", text("/"));
    assert!(root.len() >= 3, "{root:?}");
    for path in ["/connections", "/tasks/build-7"] {
        assert_eq!(loaded(path, text(path)), root, "{path}");
    }
    for path in ["/nothing", "/nothing/here"] {
        let page = tidings_web::missing(path).unwrap().plain().body;
        assert_eq!(loaded(path, std::str::from_utf8(page).unwrap()), root);
    }
    let deep = tidings_web::missing("/no/page/here").unwrap().plain().body;
    let deep = std::str::from_utf8(deep).unwrap();
    for path in root {
        assert!(asset(&path).is_some(), "{path} is there");
        assert!(deep.contains(&format!("=\"{path}\"")), "{path}");
    }
}

#[test]
fn a_page_is_small_when_it_is_compressed() {
    let files = loaded("/", text("/"));
    let bytes: usize = files
        .iter()
        .map(|file| asset(file).unwrap().representation("gzip").body.len())
        .sum();
    assert!(bytes > 50 * 1024, "the page loads its script");
    assert!(bytes < 118 * 1024, "{bytes}");
}

#[test]
fn nothing_inline_runs() {
    let page = text("/");
    assert!(!page.contains("<style") && !page.contains(" style="));
    for script in page.split("<script").skip(1) {
        assert!(script.contains("src=\"./assets/"), "{script}");
    }
    let policy = header("/", "content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "));
    assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"));
}

#[test]
fn names_of_contents_differ_and_are_quoted() {
    let mut seen = BTreeSet::new();
    for file in assets() {
        for content in file.representations {
            let etag = content.etag;
            assert!(etag.len() > 10 && etag.starts_with('"') && etag.ends_with('"'));
            assert!(seen.insert(etag), "{}", file.path);
        }
    }
}
