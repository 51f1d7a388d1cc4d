//! Every function that promises something about cancel safety has a test that drops its future.
//!
//! A test names the functions that it covers in a line `/// Covers: one, two`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates whose promises are all tested.
const COMPLETE: [&str; 2] = ["tidings-bus", "tidings-store"];

/// Promises of these crates that no test of the crate can check, with the reason.
const ELSEWHERE: [(&str, &str); 2] = [
    // Traits make these promises for their implementations. The store on disk makes backups, and
    // its tests drop them. Only a store of several nodes waits for arrivals.
    ("tidings-bus", "make"),
    ("tidings-bus", "arrived"),
];

fn sources(of: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(of).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Returns the text of all sources below a directory.
fn texts(of: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    sources(of, &mut paths);
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    paths.iter().map(read).collect()
}

/// Returns the name of the function that a line begins.
fn function(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("fn ")?;
    rest.split(['(', '<']).next()
}

/// Returns the functions whose docs have a section about cancel safety.
fn promises(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut lines = text.lines();
    while lines
        .by_ref()
        .any(|line| line.trim() == "/// # Cancel safety")
    {
        let code = lines.find(|line| !line.trim_start().starts_with("//") && line.contains("fn "));
        found.extend(code.and_then(function).map(str::to_owned));
    }
    found
}

/// Returns the functions that tests say they cover.
fn covered(text: &str) -> BTreeSet<String> {
    let lines = text.lines();
    let named = lines.filter_map(|line| line.strip_prefix("/// Covers: "));
    let names = named.flat_map(|names| names.split(", "));
    names.map(|name| name.trim().to_owned()).collect()
}

fn of_crate(name: &str) -> [BTreeSet<String>; 2] {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let promised = texts(&crates.join(name).join("src"));
    let tests = texts(&crates.join(name).join("tests"));
    [
        promised.iter().flat_map(|text| promises(text)).collect(),
        tests.iter().flat_map(|text| covered(text)).collect(),
    ]
}

#[test]
fn every_promise_has_a_test() {
    for name in COMPLETE {
        let [promised, covered] = of_crate(name);
        assert!(!promised.is_empty(), "{name} promises nothing");
        let elsewhere = ELSEWHERE.into_iter().filter(|(at, _)| *at == name);
        let elsewhere: BTreeSet<_> = elsewhere.map(|(_, function)| function.to_owned()).collect();
        let tested: BTreeSet<_> = covered.union(&elsewhere).cloned().collect();
        let untested: Vec<_> = promised.difference(&tested).collect();
        assert!(untested.is_empty(), "{name}: no test drops {untested:?}");
        let unknown: Vec<_> = tested.difference(&promised).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?} promise nothing");
    }
}
