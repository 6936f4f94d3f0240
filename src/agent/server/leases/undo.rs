//! Undoing faults, and what becomes of those that cannot be undone.

use std::sync::Arc;
use std::time::Duration;

use schism_nemesis::node::FaultError;
use tokio::task::JoinSet;

use super::lease::{Lease, Phase};
use super::{Leases, block_any};
use crate::agent::server::state::Shelf;

/// How often a heal that fails is tried.
const HEAL_TRIES: u32 = 5;
/// The first pause between two tries; it doubles.
const HEAL_PAUSE: Duration = Duration::from_millis(100);
/// How long a heal of ours may take to be seen.
const HEALED_PATIENCE: Duration = Duration::from_secs(1);
/// How long healing everything may take before the agent gives up and leaves the rest to the next one.
const HEAL_ALL_PATIENCE: Duration = Duration::from_secs(30);

impl Leases {
    /// Undoes every fault, as far as that can be done in a bounded time.
    pub async fn undo_all(self: &Arc<Self>) {
        let all: Vec<Arc<Lease>> = self.faults().leases.values().cloned().collect();
        let mut undone = JoinSet::new();
        for lease in all {
            let leases = Arc::clone(self);
            undone.spawn(async move { leases.undo(&lease).await });
        }
        let end = async { while undone.join_next().await.is_some() {} };
        if tokio::time::timeout(HEAL_ALL_PATIENCE, end).await.is_err() {
            tracing::error!("not everything could be healed in time");
        }
        undone.detach_all();
    }

    /// Undoes a fault, sees that it is gone and forgets it.
    pub(super) async fn undo(&self, lease: &Arc<Lease>) -> Result<(), String> {
        let mut mechanism = Arc::clone(&lease.mechanism).lock_owned().await;
        // Somebody else may have been faster.
        if self.get(&lease.id).is_none_or(|present| !Arc::ptr_eq(&present, lease)) {
            return Ok(());
        }
        lease.set(Phase::Healing);
        let supervisor = Arc::clone(&self.supervisor);
        let gone = block_any(move || {
            let mut seen = String::new();
            let holds = retry(|| {
                mechanism.heal(&*supervisor)?;
                let evidence = mechanism.verify_healed(&*supervisor, HEALED_PATIENCE)?;
                seen = evidence.seen;
                Ok(evidence.holds)
            });
            match holds {
                Ok(true) => Ok(()),
                Ok(false) => Err(format!("healed, but not seen to be gone: {seen}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
        match gone {
            Ok(()) => {
                tracing::info!(event = "fault healed", id = lease.id);
                self.forget(lease).await
            }
            Err(reason) => {
                self.stuck(lease, &reason);
                Err(reason)
            }
        }
    }

    /// The fault is gone: removes its entry, and then the fault.
    pub(super) async fn forget(&self, lease: &Lease) -> Result<(), String> {
        let (state, id) = (Arc::clone(&self.state), lease.id.clone());
        let removed = block_any(move || state.remove(Shelf::Journal, &id)).await;
        match removed {
            Ok(()) => {
                self.faults().leases.remove(&lease.id);
                Ok(())
            }
            Err(reason) => {
                self.stuck(lease, &reason);
                Err(reason)
            }
        }
    }

    pub(super) fn stuck(&self, lease: &Lease, reason: &str) {
        tracing::error!(event = "heal failed", id = lease.id, reason);
        lease.set(Phase::Stuck(reason.to_owned()));
    }
}

/// Tries until `Ok(true)`, a bounded number of times.
pub(super) fn retry(mut step: impl FnMut() -> Result<bool, FaultError>) -> Result<bool, FaultError> {
    let mut pause = HEAL_PAUSE;
    for _ in 1..HEAL_TRIES {
        if matches!(step(), Ok(true)) {
            return Ok(true);
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
    step()
}
