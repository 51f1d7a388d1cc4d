//! An index of a connection's cursors by task, in five bytes a place.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use tidings_protocol::TaskId;

/// The keys of cursors by the ids of their tasks. It stores no ids, only keys: the cursors have
/// their tasks, and the tasks have their ids.
#[derive(Default)]
pub(crate) struct Index {
    keys: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    /// Returns the key of the task's cursor. `id_of` returns the task of a key.
    pub(crate) fn get<'a>(
        &self,
        id: &TaskId,
        id_of: impl Fn(usize) -> Option<&'a TaskId>,
    ) -> Option<usize> {
        let hash = self.hasher.hash_one(id);
        let found = |key: &u32| id_of(*key as usize) == Some(id);
        self.keys.find(hash, found).map(|key| *key as usize)
    }

    /// Sets the key of a task's cursor, and replaces an older one.
    pub(crate) fn insert<'a>(
        &mut self,
        id: &TaskId,
        key: usize,
        id_of: impl Fn(usize) -> Option<&'a TaskId>,
    ) {
        let hash = self.hasher.hash_one(id);
        let rehash = |key: &u32| {
            let id = id_of(*key as usize);
            id.map_or(0, |id| self.hasher.hash_one(id))
        };
        let found = |key: &u32| id_of(*key as usize) == Some(id);
        self.keys.entry(hash, found, rehash).insert(narrow(key));
    }

    /// Removes the key of a task's cursor.
    pub(crate) fn remove(&mut self, id: &TaskId, key: usize) {
        let hash = self.hasher.hash_one(id);
        let found = self.keys.find_entry(hash, |known| *known as usize == key);
        if let Ok(entry) = found {
            entry.remove();
        }
    }
}

/// A list has as many keys as its connection has cursors, each of more than a hundred bytes.
pub(crate) fn narrow(key: usize) -> u32 {
    u32::try_from(key).expect("memory ends before four billion cursors")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn it_finds_what_a_map_of_ids_finds() {
        const KEYS: usize = 500;
        let mut random = fastrand::Rng::with_seed(18);
        let mut ids: Vec<Option<TaskId>> = vec![None; KEYS];
        let mut index = Index::default();
        let mut model = HashMap::new();
        for _ in 0..20_000 {
            let key = random.usize(..KEYS);
            if let Some(id) = ids[key].take() {
                index.remove(&id, key);
                if model.get(&id) == Some(&key) {
                    model.remove(&id);
                }
            } else {
                // Two cursors may have the same task for a moment, and the newer one counts.
                let id = TaskId::new(format!("task-{}", random.usize(..KEYS))).unwrap();
                ids[key] = Some(id.clone());
                index.insert(&id, key, |key| ids[key].as_ref());
                model.insert(id, key);
            }
            let id = TaskId::new(format!("task-{}", random.usize(..KEYS))).unwrap();
            let found = index.get(&id, |key| ids[key].as_ref());
            assert_eq!(found, model.get(&id).copied());
        }
        assert!(model.len() > KEYS / 4, "{}", model.len());
    }
}
