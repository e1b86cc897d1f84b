//! Threads that may wait for the disk themselves.
//!
//! A read from memory takes microseconds; on a busy machine, handing it to another thread and being
//! woken by its answer takes milliseconds. Threads that drive journeys must never wait for a disk.
//! Those that only answer clients may.

use std::cell::Cell;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// From now on, this thread runs its reads of the embedded store itself.
pub(crate) fn allow() {
    MAY_WAIT.set(true);
}

/// Whether this thread may wait for the disk.
pub(super) fn here() -> bool {
    MAY_WAIT.get()
}
