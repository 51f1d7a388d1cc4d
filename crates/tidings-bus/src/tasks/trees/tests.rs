//! Tests that compare the machine with a model that reads every child.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidings_protocol::{TaskId, TaskStatus};

use super::forest::{Forest, MAX_TREE_DEPTH, TreeError};
use super::kin::{Kin, Sums};

fn task(n: usize) -> TaskId {
    TaskId::new(format!("t{n}")).unwrap()
}

fn kin(parent: usize, status: TaskStatus, weight: u64, progress: u64) -> Kin {
    Kin {
        parent: task(parent),
        status,
        weight,
        progress,
    }
}

fn running(parent: usize) -> Kin {
    kin(parent, TaskStatus::Running, 1_000, 0)
}

/// Sums over every child, one by one.
fn counted(all: &BTreeMap<usize, Kin>, parent: usize) -> Sums {
    let mut sums = Sums::default();
    for kin in all.values().filter(|kin| kin.parent == task(parent)) {
        sums.add(kin);
    }
    sums
}

/// The height of a task in a model without circles.
fn height(all: &BTreeMap<usize, Kin>, at: usize) -> usize {
    let children = all.iter().filter(|(_, kin)| kin.parent == task(at));
    children
        .map(|(child, _)| 1 + height(all, *child))
        .max()
        .unwrap_or(0)
}

fn above(all: &BTreeMap<usize, Kin>, at: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = at;
    while let Some(kin) = all.get(&at) {
        at = kin.parent.as_str()[1..].parse().unwrap();
        found.push(at);
    }
    found
}

#[derive(Debug, Clone)]
enum Step {
    Name(usize, usize),
    Change(usize, TaskStatus, u64, u64),
    Remove(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let task = 0..48_usize;
    let status = prop_oneof![
        Just(TaskStatus::Running),
        Just(TaskStatus::Completed),
        Just(TaskStatus::Failed),
        Just(TaskStatus::Cancelled),
    ];
    prop_oneof![
        4 => (task.clone(), task.clone()).prop_map(|(child, parent)| Step::Name(child, parent)),
        4 => (task.clone(), status, 0..1_000_000_000_u64, 0..=10_000_u64)
            .prop_map(|(child, status, weight, done)| Step::Change(child, status, weight, done)),
        1 => task.prop_map(Step::Remove),
    ]
}

proptest! {
    #[test]
    fn sums_trees_and_refusals_are_those_of_a_model(steps in prop::collection::vec(step(), 1..200)) {
        let mut forest = Forest::default();
        let mut all: BTreeMap<usize, Kin> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Name(child, parent) => {
                    let claimed = forest.claim(&task(child), &task(parent));
                    let up = above(&all, parent);
                    let same = all.get(&child).is_some_and(|kin| kin.parent == task(parent));
                    let circle = child == parent || up.contains(&child);
                    let deep = 1 + up.len() + height(&all, child) > MAX_TREE_DEPTH;
                    prop_assert_eq!(claimed.is_err(), !same && (circle || deep));
                    if claimed.is_ok() {
                        forest.set(&task(child), Some(running(parent)));
                        all.insert(child, running(parent));
                    }
                }
                Step::Change(child, status, weight, progress) => {
                    if let Some(known) = all.get_mut(&child) {
                        *known = Kin { status, weight, progress, ..known.clone() };
                        let changed = forest.set(&task(child), Some(known.clone()));
                        prop_assert!(!changed.joined);
                    }
                }
                Step::Remove(child) => {
                    forest.set(&task(child), None);
                    all.remove(&child);
                }
            }
        }
        for at in 0..48 {
            prop_assert_eq!(forest.sums(&task(at)), counted(&all, at));
            let ancestors: Vec<_> = above(&all, at).into_iter().map(task).collect();
            prop_assert_eq!(forest.ancestors(&task(at)), ancestors);
            let children = forest.page(&task(at), "", None, usize::MAX);
            let expected = all.iter().filter(|(_, kin)| kin.parent == task(at));
            let mut expected: Vec<_> = expected.map(|(child, _)| task(*child)).collect();
            expected.sort();
            prop_assert_eq!(forest.has_children(&task(at)), !expected.is_empty());
            prop_assert_eq!(children, expected);
        }
    }
}

#[test]
fn a_tree_has_32_levels_below_its_root_from_whichever_end_it_grows() {
    let mut down = Forest::default();
    for n in 1..=MAX_TREE_DEPTH {
        down.claim(&task(n), &task(n - 1)).unwrap();
        down.set(&task(n), Some(running(n - 1)));
    }
    let refused = down.claim(&task(MAX_TREE_DEPTH + 1), &task(MAX_TREE_DEPTH));
    assert!(matches!(refused, Err(TreeError::TooDeep { .. })));

    let mut up = Forest::default();
    for n in (1..=MAX_TREE_DEPTH).rev() {
        up.claim(&task(n), &task(n - 1)).unwrap();
        up.set(&task(n), Some(running(n - 1)));
    }
    let refused = up.claim(&task(0), &task(100));
    assert!(matches!(refused, Err(TreeError::TooDeep { .. })));
    // Without its lowest task there is room again.
    up.set(&task(MAX_TREE_DEPTH), None);
    up.claim(&task(0), &task(100)).unwrap();
}

#[test]
fn a_task_that_is_about_to_be_a_child_closes_no_circle() {
    let mut forest = Forest::default();
    forest.claim(&task(1), &task(2)).unwrap();
    let refused = forest.claim(&task(2), &task(1)).unwrap_err();
    let text = "task_started: `parent_task_id` names t1, which is t2 or lies below it";
    assert_eq!(refused.to_string(), text);
    forest.unclaim(&task(1));
    forest.claim(&task(2), &task(1)).unwrap();
    assert!(forest.claim(&task(3), &task(3)).is_err());
}

#[test]
fn tasks_that_are_about_to_be_children_count_as_levels() {
    let mut forest = Forest::default();
    for n in 1..=16 {
        forest.set(&task(n), Some(running(n - 1)));
    }
    // Task 200 has 14 levels below it. Task 100 is about to be above it.
    for n in 201..=214 {
        forest.set(&task(n), Some(running(n - 1)));
    }
    forest.claim(&task(200), &task(100)).unwrap();
    let refused = forest.claim(&task(100), &task(17));
    assert!(refused.is_ok(), "the parent is still another root");
    forest.unclaim(&task(100));
    forest.claim(&task(17), &task(16)).unwrap();
    let refused = forest.claim(&task(100), &task(17));
    assert!(matches!(refused, Err(TreeError::TooDeep { .. })));
    forest.claim(&task(100), &task(16)).unwrap();
    forest.unclaim(&task(100));
    forest.unclaim(&task(200));
    forest.claim(&task(100), &task(17)).unwrap();
}
