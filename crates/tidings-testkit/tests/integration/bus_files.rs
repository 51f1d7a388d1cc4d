//! The directions between the files of `tidings-bus`. No two files depend on each other.
//!
//! A file depends on another file if its code names a path in that file. Tests inside a file do
//! not count. A circle is allowed only between a type and its own parts: a `mod.rs` and files of
//! the same folder, which depend on each other only through that `mod.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file by its path in `src`, without `.rs`. A `mod.rs` has the path of its folder.
type Name = String;

type Graph = BTreeMap<Name, BTreeSet<Name>>;

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tidings-bus/src")
}

/// Returns the text of every file, without its comments, literals and tests.
fn files() -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(src()).unwrap().to_owned();
                found.insert(name, code(&text));
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&src(), &mut found);
    found
}

/// Returns the code without comments, and without the tests at the end of a file.
fn code(text: &str) -> String {
    let text = match text.split_once("#[cfg(test)]\nmod tests {") {
        Some((before, _)) => before,
        None => text,
    };
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the module that a file contains.
fn module(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        parts.pop();
    }
    parts
}

/// Returns the paths in a `use` tree, such as `a::{b, c::{d, e}}`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in body.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(letter);
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| expand(part))
        .map(|path| format!("{}{path}", head.trim()))
        .collect()
}

/// Returns the paths that code names: those of its `use` items, and those that it spells out.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code.to_owned();
    while let Some(at) = rest.find("use ") {
        let starts = rest[..at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace);
        let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
        if starts {
            found.extend(expand(&rest[at + 4..end]));
            rest.replace_range(at..end, "");
        } else {
            rest.replace_range(at..at + 4, "");
        }
    }
    let is_path = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
    let spelled = rest.split(|letter| !is_path(letter));
    found.extend(
        spelled
            .filter(|path| path.contains("::"))
            .map(str::to_owned),
    );
    found
}

/// Returns the full names of the modules and items that a path may name, seen from a module.
fn resolve(path: &str, from: &[String], children: &BTreeSet<String>) -> Option<Vec<String>> {
    let mut parts = path
        .split("::")
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let mut full = from.to_vec();
    match parts.next()? {
        "crate" => full.clear(),
        "self" => {}
        "super" => _ = full.pop(),
        first if children.contains(first) => full.push(first.to_owned()),
        _ => return None,
    }
    for part in parts {
        match part {
            "super" => _ = full.pop(),
            part => full.push(part.split(' ').next().unwrap().to_owned()),
        }
    }
    Some(full)
}

/// Returns the files on which each file depends.
fn graph(files: &BTreeMap<PathBuf, String>) -> Graph {
    let modules: BTreeSet<Vec<String>> = files.keys().map(|path| module(path)).collect();
    let mut graph = Graph::new();
    for (path, code) in files {
        let from = module(path);
        let inside = |module: &&Vec<String>| {
            module.len() == from.len() + 1 && module[..from.len()] == from[..]
        };
        let children = modules.iter().filter(inside);
        let children = children
            .filter_map(|module| module.last().cloned())
            .collect();
        let deps = graph.entry(from.join("/")).or_default();
        for named in paths(code) {
            let Some(mut full) = resolve(&named, &from, &children) else {
                continue;
            };
            while !modules.contains(&full) {
                full.pop();
            }
            if full != from {
                deps.insert(full.join("/"));
            }
        }
    }
    // The root re-exports the public items, and every file is in it.
    graph.remove("");
    graph
}

/// Returns the files that can be reached from a file, over files for which `through` holds.
fn reached(graph: &Graph, from: &str, through: impl Fn(&str) -> bool) -> BTreeSet<Name> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from.to_owned()];
    while let Some(file) = next.pop() {
        for dep in graph.get(&file).into_iter().flatten() {
            if through(dep) && seen.insert(dep.clone()) {
                next.push(dep.clone());
            }
        }
    }
    seen
}

/// Returns the circles: each is a largest set of files that all depend on each other.
fn circles(graph: &Graph) -> Vec<BTreeSet<Name>> {
    let reaches: BTreeMap<_, _> = graph
        .keys()
        .map(|file| (file.clone(), reached(graph, file, |_| true)))
        .collect();
    let mut found: Vec<BTreeSet<Name>> = Vec::new();
    for (file, seen) in &reaches {
        if !seen.contains(file) || found.iter().any(|circle| circle.contains(file)) {
            continue;
        }
        let back = |other: &&Name| reaches.get(*other).is_some_and(|seen| seen.contains(file));
        found.push(seen.iter().filter(back).cloned().collect());
    }
    found
}

/// Returns whether a circle is a type with its parts: a `mod.rs` and files of its folder, without
/// a circle that does not go through the `mod.rs`.
fn is_whole(graph: &Graph, circle: &BTreeSet<Name>) -> bool {
    let Some(top) = circle.iter().min_by_key(|name| name.len()) else {
        return true;
    };
    let mut parts = circle.iter().filter(|name| *name != top);
    parts.all(|part| {
        let inside = part
            .rsplit_once('/')
            .is_some_and(|(folder, _)| folder == top);
        let others = |name: &str| name != top && circle.contains(name);
        inside && !reached(graph, part, others).contains(part)
    })
}

#[test]
fn no_two_files_of_the_bus_depend_on_each_other() {
    let files = files();
    let graph = graph(&files);
    assert!(graph.len() > 50, "the files of the bus were not found");
    let edges: usize = graph.values().map(BTreeSet::len).sum();
    assert!(edges > 200, "the paths in the files were not found");
    let circles = circles(&graph).into_iter();
    let bad: Vec<_> = circles.filter(|circle| !is_whole(&graph, circle)).collect();
    let described: Vec<_> = bad.iter().map(|circle| describe(&graph, circle)).collect();
    assert!(
        bad.is_empty(),
        "circles of files:\n{}",
        described.join("\n")
    );
}

/// Describes a circle, with the dependencies that form it.
fn describe(graph: &Graph, circle: &BTreeSet<Name>) -> String {
    let mut lines = vec![format!("{} files:", circle.len())];
    for file in circle {
        let inside: Vec<_> = graph[file]
            .intersection(circle)
            .map(String::as_str)
            .collect();
        lines.push(format!("  {file} -> {}", inside.join(" ")));
    }
    lines.join("\n")
}

/// A method may be called without a path. The methods of the shared state are therefore in its
/// own file, where they depend on nothing above it.
#[test]
fn the_shared_state_has_its_methods_in_its_own_file() {
    for (path, code) in files() {
        let here = path == Path::new("shared.rs");
        assert!(
            here || !code.contains("impl Shared"),
            "{} adds methods to the shared state; write functions that take it",
            path.display()
        );
    }
}

#[test]
fn a_circle_is_found_and_a_type_with_its_parts_is_none() {
    let graph = |edges: &[(&str, &[&str])]| -> Graph {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let edges = edges
            .iter()
            .map(|(from, to)| ((*from).to_owned(), owned(to)));
        edges.collect()
    };
    let bad = |graph: &Graph| -> usize {
        let circles = circles(graph);
        circles
            .iter()
            .filter(|circle| !is_whole(graph, circle))
            .count()
    };
    let line = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &[])]);
    assert_eq!(bad(&line), 0);
    let circle = graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"])]);
    assert_eq!(bad(&circle), 1);
    let parts = graph(&[
        ("a", &["a/b", "a/c"]),
        ("a/b", &["a"]),
        ("a/c", &["a", "a/b"]),
    ]);
    assert_eq!(bad(&parts), 0);
    let siblings = graph(&[
        ("a", &["a/b", "a/c"]),
        ("a/b", &["a/c"]),
        ("a/c", &["a", "a/b"]),
    ]);
    assert_eq!(bad(&siblings), 1);
    let rooms = graph(&[("a/b", &["c/d"]), ("c/d", &["a/b"])]);
    assert_eq!(bad(&rooms), 1);
    let paths = paths("use crate::{a::{B, c::D}, e::F as G};\nfn f() { crate::h::i(); j::K::l }");
    let wanted = [
        "crate::a::B",
        "crate::a::c::D",
        "crate::e::F as G",
        "crate::h::i",
        "j::K::l",
    ];
    assert_eq!(paths, wanted);
}
