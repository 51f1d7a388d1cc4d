//! The order of the shown tasks: children under their parent.

use std::collections::{BTreeMap, BTreeSet};

use tidings_client::protocol::TaskId;

/// Orders tasks by id, each followed by its children. Returns each task with its depth.
/// A task is at the top if its parent is not shown, or if it belongs to a circle.
pub(super) fn order<'a>(
    tasks: impl IntoIterator<Item = (&'a TaskId, Option<&'a TaskId>)>,
) -> Vec<(&'a TaskId, usize)> {
    let parents: BTreeMap<_, _> = tasks.into_iter().collect();
    let mut children: BTreeMap<&TaskId, Vec<&TaskId>> = BTreeMap::new();
    let mut top = Vec::new();
    for (task, parent) in &parents {
        match parent.filter(|parent| parents.contains_key(parent) && parent != task) {
            Some(parent) => children.entry(parent).or_default().push(task),
            None => top.push(*task),
        }
    }
    let mut shown = Shown::default();
    for task in top.into_iter().chain(parents.keys().copied()) {
        shown.add(task, &children);
    }
    shown.ordered
}

#[derive(Default)]
struct Shown<'a> {
    ordered: Vec<(&'a TaskId, usize)>,
    known: BTreeSet<&'a TaskId>,
}

impl<'a> Shown<'a> {
    /// Adds a task and all tasks below it.
    fn add(&mut self, task: &'a TaskId, children: &BTreeMap<&TaskId, Vec<&'a TaskId>>) {
        let mut next = vec![(task, 0)];
        while let Some((task, depth)) = next.pop() {
            if !self.known.insert(task) {
                continue;
            }
            self.ordered.push((task, depth));
            let below = children.get(task).into_iter().flatten().rev();
            next.extend(below.map(|child| (*child, depth + 1)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(tasks: &[(&str, &str)]) -> String {
        let parse = |text: &str| text.parse::<TaskId>().ok();
        let tasks: Vec<_> = tasks
            .iter()
            .map(|(task, parent)| (parse(task).unwrap(), parse(parent)))
            .collect();
        let tasks = tasks.iter().map(|(task, parent)| (task, parent.as_ref()));
        let text = order(tasks).into_iter();
        let text = text.map(|(task, depth)| format!("{}{task}", "-".repeat(depth)));
        text.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn children_are_under_their_parent() {
        let tasks = [
            ("a2", "z"),
            ("b", ""),
            ("a1", "z"),
            ("z", ""),
            ("a1x", "a1"),
            ("lone", "nobody"),
        ];
        assert_eq!(ordered(&tasks), "b lone z -a1 --a1x -a2");
    }

    #[test]
    fn a_circle_is_shown_once() {
        let tasks = [("a", "b"), ("b", "a"), ("c", "c")];
        assert_eq!(ordered(&tasks), "c a -b");
    }

    #[test]
    fn a_deep_tree_is_no_trouble() {
        let names: Vec<String> = (0..20_000).map(|number| format!("t{number:05}")).collect();
        let tasks: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.as_str(), if at == 0 { "" } else { &names[at - 1] }))
            .collect();
        assert!(ordered(&tasks).ends_with("t19999"));
    }
}
