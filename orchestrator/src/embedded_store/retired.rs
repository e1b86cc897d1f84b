//! Rows in memory that the engine has flushed. It frees them while it holds a lock that every read
//! and every write of the keyspace waits for: 20 ms for 16 MiB. So that it is not the last to let go
//! of them, they are held here, and freed by a thread that nobody waits for.

use super::limits;
use fjall::{AbstractTree, Keyspace};
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The rows in memory of one keyspace, up to a flush. The engine gives its type no name.
type Memtable = Arc<dyn Any + Send + Sync>;

/// What was or is the memory of the keyspaces.
#[derive(Default)]
pub(super) struct Retired(Mutex<Vec<Memtable>>);

impl Retired {
    fn held(&self) -> MutexGuard<'_, Vec<Memtable>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds what the keyspaces write to now. Beyond the bound it is left to the engine.
    pub(super) fn keep(&self, spaces: &[Keyspace]) {
        let mut held = self.held();
        for space in spaces {
            let active: Memtable = space.tree.active_memtable();
            let is_held = held.iter().any(|other| Arc::ptr_eq(other, &active));
            if !is_held && held.len() < limits::RETIRED_MAX {
                held.push(active);
            }
        }
    }

    /// Frees what nobody else holds any more.
    pub(super) fn free(&self) {
        let is_free = |table: &mut Memtable| Arc::strong_count(table) == 1;
        let freed: Vec<Memtable> = self.held().extract_if(.., is_free).collect();
        drop(freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions};

    #[test]
    fn what_the_engine_flushed_is_held_until_it_is_freed_here() {
        let dir = tempfile::tempdir().unwrap();
        let db = Database::builder(dir.path()).open().unwrap();
        let spaces = ["a", "b"].map(|name| db.keyspace(name, KeyspaceCreateOptions::default));
        let spaces = spaces.map(Result::unwrap);
        let retired = Retired::default();
        retired.keep(&spaces);
        retired.keep(&spaces);
        assert_eq!(retired.held().len(), 2);
        for round in 0..4_u8 {
            spaces[0].insert([round], "row").unwrap();
            spaces[0].rotate_memtable_and_wait().unwrap();
            retired.keep(&spaces);
        }
        assert_eq!(retired.held().len(), 6);
        retired.free();
        // Both active ones, and what the engine has not let go of yet.
        assert!((2..6).contains(&retired.held().len()), "{}", retired.held().len());
    }
}
