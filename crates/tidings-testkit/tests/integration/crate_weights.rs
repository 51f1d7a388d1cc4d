//! How many crates of others each of ours brings along, as `cargo tree` counts.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A choice of crate and features, and the most crates of others that it may need.
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

/// Crates that no embedder of the choices above is forced to have: what needs a C
/// compiler, and what a single purpose needs.
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

/// Returns the crates that a choice needs, build scripts' included.
fn needed(choice: &[&str], edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none", "--edges", edges])
        .arg("--package")
        .args(choice)
        // Counted as an embedder gets them, also where the workspace's features are
        // united to compile it once.
        .env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .output()
        .expect("cargo tree runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{choice:?}: {errors}");
    let text = String::from_utf8(output.stdout).expect("cargo tree writes text");
    text.lines()
        .filter_map(|line| line.split_once(' '))
        // Two versions of a crate are two to compile.
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
        // Metrics are what prometheus-client and procfs are for.
        let metrics = choice.contains(&"metrics");
        for name in needed(choice, "normal,build") {
            let (name, _) = name.split_once(' ').expect("a name and a version");
            assert!(!LEFT_OUT.contains(&name), "{choice:?} needs {name}");
            let of_metrics = ["prometheus-client", "procfs"].contains(&name);
            assert!(metrics || !of_metrics, "{choice:?} needs {name}");
        }
    }
}
