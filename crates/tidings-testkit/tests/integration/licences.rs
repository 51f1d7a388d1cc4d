//! The licences of dependencies, and crates that must not become dependencies again.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licences that only require to be named.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come back, because another crate does their work.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("chrono", "times are humantime's"),
];

/// Returns the packages that are built for this platform, including dev-dependencies.
fn packages() -> Vec<Value> {
    let host = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc runs");
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--locked",
        ])
        .args(["--filter-platform", host.expect("rustc names its host")])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let resolved: Vec<_> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("a graph")
        .iter()
        .map(|node| node["id"].clone())
        .collect();
    let packages = metadata["packages"].as_array().expect("packages").iter();
    packages
        .filter(|package| resolved.contains(&package["id"]))
        .cloned()
        .collect()
}

#[test]
fn licences_ask_for_no_more_than_to_be_named() {
    let packages = packages();
    let wrong: Vec<_> = packages
        .iter()
        .filter(|package| {
            let licence = package["license"].as_str().unwrap_or_default();
            let parsed = spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX);
            !parsed.is_ok_and(|known| {
                known.evaluate(|asked| {
                    let id = asked.license.id().map(|id| id.name);
                    id.is_some_and(|id| ALLOWED.contains(&id))
                })
            })
        })
        .map(|package| format!("{}: {}", package["name"], package["license"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(packages.len() > 100, "all of them were looked at");
}

#[test]
fn banned_crates_are_not_among_the_dependencies() {
    for package in packages() {
        let name = package["name"].as_str().unwrap_or_default();
        let banned = BANNED.iter().find(|(banned, _)| *banned == name);
        assert!(banned.is_none(), "{banned:?}");
    }
}
