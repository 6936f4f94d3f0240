//! One fault under a lease, in memory and on disk.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schism_nemesis::node::{Mechanism, NodeFault};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::agent::server::Mechanisms;

/// Bumped whenever an entry's meaning changes.
pub const ENTRY_VERSION: u32 = 1;
/// The longest lease, so that a forgotten one ends.
pub const LEASE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What is on disk of a fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub version: u32,
    pub id: String,
    pub fault: NodeFault,
    pub lease_ms: u64,
    /// The boot it was made in; see [`proc::scope`](crate::agent::server::proc::scope).
    #[serde(default)]
    pub scope: Option<String>,
}

/// How far a fault's life has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Journalled, being made.
    Injecting,
    /// Made.
    InForce,
    /// Undone, not yet seen to be gone.
    Healed,
    /// Being undone. Set before the undoing begins, so that no renewal makes the fault again.
    Healing,
    /// It could not be undone, or not be seen to be gone: why.
    Stuck(String),
}

pub struct Lease {
    pub id: String,
    pub fault: NodeFault,
    pub length: Duration,
    pub since: Instant,
    phase: Mutex<Phase>,
    /// A renewal waits or is under way; another one is of no use.
    pub renewing: AtomicBool,
    /// Fair, so that a patient look cannot keep a heal out.
    pub mechanism: Arc<tokio::sync::Mutex<Box<dyn Mechanism>>>,
}

impl Lease {
    pub fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, phase: Phase) {
        *self.phase() = phase;
    }
}

impl Lease {
    pub fn new(mechanisms: &Mechanisms, id: String, fault: NodeFault, lease_ms: u64) -> Self {
        let mechanism = Arc::new(tokio::sync::Mutex::new(mechanisms(&id, &fault)));
        Self {
            id,
            fault,
            length: Duration::from_millis(lease_ms).min(LEASE_MAX),
            since: Instant::now(),
            phase: Mutex::new(Phase::Injecting),
            renewing: AtomicBool::new(false),
            mechanism,
        }
    }
}
