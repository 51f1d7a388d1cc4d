//! The number of third-party crates that each crate depends on, as `cargo tree` counts them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Crates and features, and the most third-party crates that they may need.
const MOST: &[(&[&str], usize)] = &[
    (&["tidings-protocol"], 22),
    (&["tidings"], 37),
    (&["tidings", "--features", "connections"], 55),
    (&["tidings-connections"], 55),
    (&["tidings", "--features", "transport"], 75),
    (&["tidings-transport"], 75),
    (&["tidings", "--features", "metrics"], 65),
    (&["tidings", "--features", "client"], 55),
];

/// Crates that none of the choices above may depend on: crates that need a C compiler, and crates
/// that serve a single purpose.
const LEFT_OUT: &[&str] = &[
    "aws-lc-sys",
    "axum",
    "cc",
    "clap",
    "cmake",
    "h2",
    "ppp",
    "ring",
    "schemars",
];

/// Returns the crates that a choice needs, including those of build scripts.
fn needed(choice: &[&str], edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none", "--edges", edges])
        .arg("--package")
        .args(choice)
        // Count without feature unification, because an embedder does not have this workspace's
        // features.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo tree runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{choice:?}: {errors}");
    let text = String::from_utf8(output.stdout).expect("cargo tree writes text");
    text.lines()
        .filter_map(|line| line.split_once(' '))
        // Two versions of a crate count as two, because both are compiled.
        .map(|(name, rest)| format!("{name} {}", rest.split(' ').next().unwrap_or_default()))
        .filter(|name| !name.starts_with("tidings"))
        .collect()
}

#[test]
fn no_choice_needs_more_crates_than_it_may() {
    let mut heavy = Vec::new();
    for (choice, most) in MOST {
        let count = needed(choice, "normal").len();
        assert!(
            count > 10,
            "{choice:?}: {count} crates are too few to be true"
        );
        if count > *most {
            heavy.push(format!(
                "{}: {count} crates, {most} at most",
                choice.join(" ")
            ));
        }
    }
    assert!(
        heavy.is_empty(),
        "leave out a dependency, or put what needs it into a crate of its own: {heavy:#?}"
    );
}

#[test]
fn no_choice_needs_a_c_compiler_or_what_it_has_no_use_for() {
    for (choice, _) in MOST {
        // Only the feature `metrics` needs prometheus-client and procfs.
        let metrics = choice.contains(&"metrics");
        for name in needed(choice, "normal,build") {
            let (name, _) = name.split_once(' ').expect("a name and a version");
            assert!(!LEFT_OUT.contains(&name), "{choice:?} needs {name}");
            let of_metrics = ["prometheus-client", "procfs"].contains(&name);
            assert!(metrics || !of_metrics, "{choice:?} needs {name}");
        }
    }
}
