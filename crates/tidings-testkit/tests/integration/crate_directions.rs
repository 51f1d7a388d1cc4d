//! The dependencies that are allowed between crates, as drawn in `docs/architecture.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A crate, the Tidings crates that it may depend on, and the other crates that it must not.
const RULES: &[(&str, &[&str], &[&str])] = &[
    (
        "tidings-protocol",
        &[],
        &["tokio", "hyper", "tungstenite", "http"],
    ),
    (
        "tidings-scope",
        &["tidings-protocol"],
        &["hyper", "tungstenite", "http", "rustls", "native-tls"],
    ),
    (
        "tidings-bus",
        &["tidings-scope", "tidings-protocol"],
        &[
            "hyper",
            "tungstenite",
            "http",
            "rustls",
            "native-tls",
            "redis",
        ],
    ),
    (
        "tidings-connections",
        &["tidings-bus", "tidings-scope", "tidings-protocol"],
        &["hyper", "tungstenite", "http", "rustls", "native-tls"],
    ),
    (
        "tidings-auth",
        &[
            "tidings-connections",
            "tidings-bus",
            "tidings-scope",
            "tidings-protocol",
        ],
        &["tungstenite", "tidings-transport"],
    ),
    (
        "tidings-redis",
        &["tidings-bus", "tidings-scope", "tidings-protocol"],
        &["hyper", "tungstenite", "http"],
    ),
    (
        "tidings-transport",
        &[
            "tidings-connections",
            "tidings-bus",
            "tidings-scope",
            "tidings-protocol",
        ],
        // axum is needed only for the feature `axum`, for applications that already use it.
        // `crate_weights` checks that other features do without.
        &["rustls", "jsonwebtoken", "prometheus-client", "procfs"],
    ),
    (
        "tidings-metrics",
        &[
            "tidings-connections",
            "tidings-bus",
            "tidings-scope",
            "tidings-protocol",
        ],
        &["hyper", "tungstenite"],
    ),
    (
        "tidings-describe",
        &[
            "tidings-transport",
            "tidings-connections",
            "tidings-bus",
            "tidings-scope",
            "tidings-protocol",
        ],
        &["prometheus-client", "rustls"],
    ),
    ("tidings-web", &[], &["tokio", "hyper", "http"]),
    (
        "tidings-store",
        &["tidings-bus", "tidings-scope", "tidings-protocol"],
        &["hyper", "tungstenite", "http", "rustls", "native-tls"],
    ),
    (
        "tidings-client",
        &["tidings-scope", "tidings-protocol"],
        &["native-tls", "openssl"],
    ),
    (
        "tidings-cli",
        &["tidings-client", "tidings-scope", "tidings-protocol"],
        &["native-tls", "openssl"],
    ),
    (
        "tidings-python",
        &["tidings-client", "tidings-protocol", "tidings-scope"],
        &["native-tls", "openssl"],
    ),
    (
        "tidings-tracing",
        &["tidings-client", "tidings-scope", "tidings-protocol"],
        // hyper is needed only for the client's feature `list`, which is off by default.
        &[],
    ),
    ("tidings-tls", &[], &["jsonwebtoken"]),
    (
        "tidings-otlp",
        &[
            "tidings-transport",
            "tidings-connections",
            "tidings-bus",
            "tidings-scope",
            "tidings-protocol",
        ],
        &["jsonwebtoken"],
    ),
    (
        "tidings-node",
        &[
            "tidings-auth",
            "tidings-bus",
            "tidings-connections",
            "tidings-describe",
            "tidings-metrics",
            "tidings-protocol",
            "tidings-redis",
            "tidings-scope",
            "tidings-store",
            "tidings-tls",
            "tidings-transport",
            "tidings-web",
        ],
        &["opentelemetry"],
    ),
    (
        "tidings",
        &[
            "tidings-auth",
            "tidings-client",
            "tidings-describe",
            "tidings-metrics",
            "tidings-node",
            "tidings-redis",
            "tidings-store",
            "tidings-tls",
            "tidings-tracing",
            "tidings-transport",
            "tidings-connections",
            "tidings-bus",
            "tidings-scope",
            "tidings-protocol",
            "tidings-web",
        ],
        &[],
    ),
];

/// Crates that no library may force on its users.
const NEVER: &[&str] = &["clap", "anyhow", "tracing-subscriber"];

/// Exceptions for crates whose purpose needs such a dependency. A layer needs the crate that
/// defines layers, and a command line needs its parser. A node has options and may log, and the
/// facade has a node among its features. No other library may depend on these crates.
const ABOUT: &[(&str, &str)] = &[
    ("tidings-tracing", "tracing-subscriber"),
    ("tidings-cli", "clap"),
    // OpenTelemetry depends on it.
    ("tidings-otlp", "anyhow"),
    ("tidings-otlp", "tracing-subscriber"),
    ("tidings-node", "tracing-subscriber"),
    ("tidings-node", "clap"),
    ("tidings", "tracing-subscriber"),
    ("tidings", "clap"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the platform on which the test runs.
fn host() -> String {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_owned()
}

/// Returns every package of the workspace with its dependencies, except dev-dependencies.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--locked",
        ])
        // Without the filter, cargo would need crates of other platforms, which are not downloaded.
        .args(["--filter-platform", &host()])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let direct: BTreeMap<String, Vec<String>> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let deps = list(&node["deps"])
                .iter()
                .filter(|dep| {
                    list(&dep["dep_kinds"])
                        .iter()
                        .any(|kind| kind["kind"].is_null())
                })
                .map(|dep| text(&dep["pkg"]))
                .collect();
            (text(&node["id"]), deps)
        })
        .collect();
    list(&metadata["workspace_members"])
        .iter()
        .map(|member| {
            let member = text(member);
            let mut seen = BTreeSet::new();
            let mut next = direct[&member].clone();
            while let Some(id) = next.pop() {
                if seen.insert(id.clone()) {
                    next.extend(direct[&id].iter().cloned());
                }
            }
            let deps = seen.iter().map(|id| names[id].clone()).collect();
            (names[&member].clone(), deps)
        })
        .collect()
}

#[test]
fn crates_depend_only_downwards() {
    let dependencies = dependencies();
    for (name, allowed, forbidden) in RULES {
        let deps = &dependencies[*name];
        for dep in deps.iter().filter(|dep| dep.starts_with("tidings")) {
            assert!(
                allowed.contains(&dep.as_str()),
                "{name} must not depend on {dep}"
            );
        }
        let never = NEVER.iter().filter(|dep| !ABOUT.contains(&(*name, **dep)));
        for dep in forbidden.iter().chain(never) {
            assert!(!deps.contains(*dep), "{name} must not depend on {dep}");
        }
    }
    let unknown: Vec<_> = dependencies
        .keys()
        .filter(|name| name.starts_with("tidings"))
        .filter(|name| !["tidings-server", "tidings-testkit"].contains(&name.as_str()))
        .filter(|name| !RULES.iter().any(|(known, ..)| known == name))
        .collect();
    assert!(
        unknown.is_empty(),
        "these crates have no rule yet: {unknown:?}"
    );
}

#[test]
fn every_example_and_bench_is_listed_and_so_compiled() {
    for (folder, targets) in [("examples", ""), ("benches", "launch/")] {
        let folder = root().join(folder);
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        for entry in std::fs::read_dir(folder.join(targets)).expect("a folder") {
            let name = entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned();
            if name.ends_with(".rs") {
                let listed = manifest.contains(&format!("path = \"{targets}{name}\""));
                assert!(listed, "{} does not list {name}", folder.display());
            }
        }
    }
}
