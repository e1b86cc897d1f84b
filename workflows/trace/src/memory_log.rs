//! A log in memory for the unit tests of this crate.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::key::SigningKey;
use crate::publisher::{Object, Publisher};
use crate::reader::FetchError;

/// `e0`, `e1`, …: the entries of the golden vector.
pub(crate) fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!("e{index}").into_bytes()).collect()
}

/// RFC 6962 section 2.1, word by word.
pub(crate) fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Hash::node(&naive_root(left), &naive_root(right))
        }
    }
}

/// Deterministic numbers for tests (xorshift64).
pub(crate) struct XorShift(pub(crate) u64);

impl XorShift {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// The key of every log here.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed("example.com/log", &[7; 32]).unwrap()
}

/// Objects by path, as a publisher writes them.
#[derive(Clone, Default)]
pub(crate) struct MemoryLog(pub(crate) BTreeMap<String, Vec<u8>>);

impl MemoryLog {
    /// A published log with the golden entries.
    pub(crate) fn with_entries(count: usize) -> Self {
        let mut log = Self::default();
        let mut publisher = Publisher::new();
        log.create(publisher.publish(&entries(count)).unwrap());
        log.sign(&publisher);
        log
    }

    /// Creates objects if absent, as a store must.
    pub(crate) fn create(&mut self, objects: Vec<Object>) {
        for object in objects {
            let stored = self.0.entry(object.tile.path()).or_insert_with(|| object.bytes.clone());
            assert_eq!(*stored, object.bytes, "{}", object.tile);
        }
    }

    /// Replaces the checkpoint.
    pub(crate) fn sign(&mut self, publisher: &Publisher) -> Checkpoint {
        let checkpoint = Checkpoint {
            origin: key().name().to_owned(),
            size: publisher.size(),
            root: publisher.root(),
        };
        self.0.insert("checkpoint".to_owned(), checkpoint.sign(&key()).unwrap().into_bytes());
        checkpoint
    }

    /// What a fetch closure answers.
    pub(crate) fn fetch(&self) -> impl FnMut(&str) -> Result<Option<Vec<u8>>, FetchError> {
        |path| Ok(self.0.get(path).cloned())
    }
}
