//! The register: small durable rows beside the shards, shared by the nodes of one store. What an
//! operator said stands there (paused stages, API keys, the list of changes), and uploads that no
//! contribution names yet.

use crate::ports::StoreError;
use crate::rail::BoxFuture;

/// A row's name and its bytes.
pub type Row = (String, Vec<u8>);

/// Named rows, changed one at a time.
///
/// Names are at most [`NAME_BYTES_MAX`](crate::limits::REGISTER_NAME_BYTES_MAX) bytes, rows at most
/// [`ROW_BYTES_MAX`](crate::limits::REGISTER_ROW_BYTES_MAX); whoever writes keeps to that.
/// *Atomicity*: `swap` is one step over one row. *Durability*: an `Ok` of `swap` is durable as
/// configured. *Ordering*: `scan` sees every `swap` that was answered before it began. *Retries* are
/// the caller's: after [`StoreError::Ambiguous`] it reads what stands.
pub trait Register: Send + Sync + 'static {
    /// One row; none if it does not stand.
    fn get(&self, name: String) -> BoxFuture<'_, Result<Option<Vec<u8>>, StoreError>>;

    /// Makes a row what `new` says if it is as `expected` now; none means that no row stands. False
    /// if it is otherwise, and then nothing is changed.
    fn swap(
        &self,
        name: String,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Rows whose names begin with `prefix` and are above `after`, in the byte order of their
    /// names, up to `limit`.
    fn scan(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>>;
}
