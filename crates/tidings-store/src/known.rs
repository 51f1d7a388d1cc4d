//! The set of existing tasks, in about ten bytes for each task.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use tidings_bus::protocol::TaskId;

/// The number of parts of the set. Only one part grows at a time. A single set of a million hashes
/// would pause the whole store while it grows.
const PARTS: usize = 256;

/// The bytes of a place in a part: a hash and the mark of the place.
const PLACE_BYTES: u64 = 5;

/// The hashes of the ids of all tasks. The number of the part and the hash in it have 40 bits
/// together.
///
/// Two of a million ids have the same hash with a probability of about a third, but a client cannot
/// provoke this. `contains` may then return
/// `true` for a task that does not exist. It never returns `false` for a task that exists, because
/// a hash counts once for each added task.
#[derive(Debug)]
pub(crate) struct Known<S = RandomState> {
    hasher: S,
    parts: Vec<HashSet<u32>>,
    /// For each part and hash with several ids: the number of ids after the first.
    more: BTreeMap<(usize, u32), u64>,
    len: u64,
    /// The bytes of the parts.
    bytes: u64,
}

impl<S: Default> Default for Known<S> {
    fn default() -> Self {
        Self {
            hasher: S::default(),
            parts: vec![HashSet::new(); PARTS],
            more: BTreeMap::new(),
            len: 0,
            bytes: 0,
        }
    }
}

impl<S: BuildHasher> Known<S> {
    fn hash(&self, task_id: &TaskId) -> (usize, u32) {
        let hash = self.hasher.hash_one(task_id.as_str());
        let [part, _, _, _, rest @ ..] = hash.to_be_bytes();
        (usize::from(part), u32::from_be_bytes(rest))
    }

    /// Changes a part, and counts its bytes again.
    fn change<T>(&mut self, part: usize, act: impl FnOnce(&mut HashSet<u32>) -> T) -> T {
        let part = &mut self.parts[part];
        self.bytes -= bytes_of(part);
        let result = act(part);
        if part.capacity() > 4 * part.len() {
            part.shrink_to(2 * part.len());
        }
        self.bytes += bytes_of(part);
        result
    }

    /// Returns the bytes that the set takes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a task that is not in the set.
    pub(crate) fn add(&mut self, task_id: &TaskId) {
        let (part, hash) = self.hash(task_id);
        if !self.change(part, |hashes| hashes.insert(hash)) {
            *self.more.entry((part, hash)).or_default() += 1;
        }
        self.len += 1;
    }

    /// Removes a task that is in the set.
    pub(crate) fn remove(&mut self, task_id: &TaskId) {
        let (part, hash) = self.hash(task_id);
        self.len -= 1;
        match self.more.get_mut(&(part, hash)) {
            Some(more) if *more > 1 => *more -= 1,
            Some(_) => _ = self.more.remove(&(part, hash)),
            None => _ = self.change(part, |hashes| hashes.remove(&hash)),
        }
    }

    /// Returns whether a task may be in the set.
    pub(crate) fn contains(&self, task_id: &TaskId) -> bool {
        let (part, hash) = self.hash(task_id);
        self.parts[part].contains(&hash)
    }

    /// Returns the number of tasks.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }
}

/// Returns the bytes that a part takes in memory. A table has a power of two of places, and uses
/// at most seven of eight.
fn bytes_of(part: &HashSet<u32>) -> u64 {
    match part.capacity() as u64 * 8 / 7 {
        0 => 0,
        places => places.next_power_of_two() * PLACE_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, Hasher};

    use super::*;

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    #[test]
    fn a_task_is_known_until_it_is_removed() {
        let mut known: Known = Known::default();
        known.add(&id("a"));
        known.add(&id("b"));
        assert!(known.contains(&id("a")) && !known.contains(&id("c")));
        known.remove(&id("a"));
        assert!(!known.contains(&id("a")) && known.contains(&id("b")));
        assert_eq!(known.len(), 1);
    }

    #[test]
    fn the_bytes_are_a_few_for_each_task_and_go_with_the_tasks() {
        let mut known: Known = Known::default();
        let ids: Vec<_> = (0..100_000).map(|n| id(&format!("task-{n}"))).collect();
        ids.iter().for_each(|id| known.add(id));
        assert!(known.bytes() <= 12 * 100_000, "{} bytes", known.bytes());
        let held = |known: &Known| -> u64 { known.parts.iter().map(bytes_of).sum() };
        assert_eq!(known.bytes(), held(&known));
        for id in &ids[..99_000] {
            known.remove(id);
        }
        assert_eq!(known.bytes(), held(&known));
        assert!(known.bytes() <= 40 * 1_000, "{} bytes", known.bytes());
        ids[99_000..].iter().for_each(|id| known.remove(id));
        assert_eq!(known.bytes(), 0);
    }

    /// A hasher that gives everything the same hash.
    #[derive(Default)]
    struct Same;

    impl Hasher for Same {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _: &[u8]) {}
    }

    #[test]
    fn a_task_whose_hash_another_has_stays_known_when_that_one_goes() {
        let mut known: Known<BuildHasherDefault<Same>> = Known::default();
        for text in ["a", "b", "c"] {
            known.add(&id(text));
        }
        known.remove(&id("a"));
        known.remove(&id("c"));
        assert!(known.contains(&id("b")));
        known.remove(&id("b"));
        assert!(!known.contains(&id("b")));
    }
}
