//! How far a check has come, for whoever waits.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared between a check and whoever shows how far it has come.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// So many operations are to be checked.
    pub(crate) fn begin(&self, operations: usize) {
        self.total.store(operations as u64, Ordering::Relaxed);
    }

    /// So many more have been.
    pub(crate) fn add(&self, operations: usize) {
        self.done.fetch_add(operations as u64, Ordering::Relaxed);
    }

    /// Operations whose object is decided, and all; 0 of 0 before it is known.
    pub fn get(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}
