//! How leases are prolonged, how they end, and what the watchdog is told of that.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::lease::{Lease, Phase};
use super::{Leases, block};
use crate::agent::protocol::{Response, SILENCE_BEYOND_LEASE, SILENCE_MAX};

/// How often the watchdog hears from an agent with faults in force.
const FEED_EVERY: Duration = Duration::from_millis(250);
/// An agent that says nothing for this long after a lease ran out heals nothing either.
const DEAD_AFTER: Duration = Duration::from_secs(1);

impl Leases {
    /// The controller lives: every lease begins anew. Never waits.
    pub fn heartbeat(self: &Arc<Self>) {
        *self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        for lease in self.faults().leases.values() {
            if *lease.phase() == Phase::InForce && !lease.renewing.swap(true, Ordering::AcqRel) {
                tokio::spawn(Arc::clone(self).renew(Arc::clone(lease)));
            }
        }
    }

    /// The controller was heard. What it asks is carried out later, so a fault that it makes is not among these yet.
    pub fn heard(&self) {
        let faults = self.faults();
        let longest = faults.leases.values().map(|lease| lease.length).max().unwrap_or_default();
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner) = longest;
    }

    /// How long the controller may be silent before it counts as dead. That a lease has run out meanwhile changes nothing: it
    /// did because of the silence.
    pub fn silence_max(&self) -> Duration {
        match *self.longest.lock().unwrap_or_else(PoisonError::into_inner) {
            Duration::ZERO => SILENCE_MAX,
            longest => SILENCE_MAX.min(longest.saturating_add(SILENCE_BEYOND_LEASE)),
        }
    }

    async fn renew(self: Arc<Self>, lease: Arc<Lease>) {
        let mut mechanism = Arc::clone(&lease.mechanism).lock_owned().await;
        // Healed while this waited its turn: renewing would make it again.
        if *lease.phase() == Phase::InForce {
            let supervisor = Arc::clone(&self.supervisor);
            let length = lease.length;
            if let Err(reason) = block(move || mechanism.renew(&*supervisor, length)).await {
                tracing::error!(event = "renew failed", id = lease.id, reason);
                let _ = self.events.send(Response::RenewFailed { id: lease.id.clone(), reason });
            }
        }
        lease.renewing.store(false, Ordering::Release);
    }

    /// Heals every fault whose lease runs out, forever.
    pub async fn watch(self: Arc<Self>) {
        loop {
            let next = self.next_expiry();
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep_until(next) => self.expire(),
            }
        }
    }

    fn expiry_of(&self, lease: &Lease) -> Instant {
        let heartbeat = *self.heartbeat.lock().unwrap_or_else(PoisonError::into_inner);
        heartbeat.max(lease.since) + lease.length
    }

    fn next_expiry(&self) -> Option<Instant> {
        let faults = self.faults();
        let timed = faults.leases.values().filter(|lease| runs_out(&lease.phase()));
        timed.map(|lease| self.expiry_of(lease)).min()
    }

    fn expire(self: &Arc<Self>) {
        let now = Instant::now();
        let faults = self.faults();
        for lease in faults.leases.values() {
            let mut phase = lease.phase();
            if runs_out(&phase) && self.expiry_of(lease) <= now {
                *phase = Phase::Healing;
                drop(phase);
                let (leases, lease) = (Arc::clone(self), Arc::clone(lease));
                tracing::warn!(event = "lease expired", id = lease.id);
                tokio::spawn(async move {
                    if leases.undo(&lease).await.is_ok() {
                        let _ = leases.events.send(Response::LeaseExpired { id: lease.id.clone() });
                    }
                });
            }
        }
    }

    /// How long from now the watchdog is to wait for another word before it takes this agent for dead. `None` without faults:
    /// for ever.
    pub(super) fn dead_after(&self) -> Option<Duration> {
        let now = Instant::now();
        let faults = self.faults();
        let first = faults.leases.values().map(|lease| self.expiry_of(lease)).min()?;
        Some(first.saturating_duration_since(now) + DEAD_AFTER)
    }

    /// Keeps the watchdog informed, for ever.
    pub async fn feed_watchdog(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FEED_EVERY).await;
            let leases = Arc::clone(&self);
            // Starting another one in place of one that died blocks.
            let fed = tokio::task::spawn_blocking(move || leases.guard.feed(|| leases.dead_after())).await;
            if let Err(reason) = fed.map_err(|error| error.to_string()).flatten() {
                tracing::error!(event = "no watchdog", reason);
            }
        }
    }
}

/// Whether a fault in this phase is this agent's to end when its lease does. Also one that was healed and that nobody came to
/// see gone: whoever healed it may be cut off.
fn runs_out(phase: &Phase) -> bool {
    matches!(phase, Phase::InForce | Phase::Healed)
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
