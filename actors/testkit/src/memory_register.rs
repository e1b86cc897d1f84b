//! The register in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_actors::ports::StoreError;
use gristmill_actors::rail::BoxFuture;
use gristmill_actors::register::{Register, Row};

/// Rows by name. A clone is a handle to the same rows.
#[derive(Debug, Clone, Default)]
pub struct MemoryRegister(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl MemoryRegister {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Register for MemoryRegister {
    fn get(&self, name: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>> {
        let row = self.with(|rows| rows.get(&name).cloned());
        Box::pin(async move { Ok(row) })
    }

    fn swap(
        &self,
        name: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let swapped = self.with(|rows| {
            if rows.get(&name) != expected.as_ref() {
                return false;
            }
            match new {
                Some(new) => rows.insert(name, new),
                None => rows.remove(&name),
            };
            true
        });
        Box::pin(async move { Ok(swapped) })
    }

    fn scan(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        let rows = self.with(|rows| {
            let from = rows.range(prefix.clone()..);
            let of_prefix = from.take_while(|(name, _)| name.starts_with(&prefix));
            let above = of_prefix.filter(|(name, _)| after.as_ref().is_none_or(|to| *name > to));
            above.take(limit).map(|(name, row)| (name.clone(), row.clone())).collect()
        });
        Box::pin(async move { Ok(rows) })
    }
}
