//! Faults in force, each under a lease.
//!
//! The order is what makes nothing stay behind: the journal entry is on disk before the fault is made, and is removed only
//! after the fault was seen to be gone. Whoever comes in between (an expired lease, a lost controller, the next agent)
//! finds the entry and undoes what it says, and undoing what was never made does nothing. Before the first entry is written a
//! watchdog runs that outlives the agent.

mod lease;
mod renewal;
mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use schism_nemesis::node::{Evidence, FaultError, Host, Mechanism, NodeFault};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use self::lease::{ENTRY_VERSION, Entry, LEASE_MAX, Lease, Phase};
use self::undo::retry;
use super::Mechanisms;
use super::facts::Bystander;
use super::proc;
use super::state::{Shelf, State};
use super::supervisor::Supervisor;
use super::watchdog::Guard;
use crate::agent::protocol::Response;

/// A mechanism looks for at most this long at a time; between two looks a renewal or a heal gets its turn.
const LOOK: Duration = Duration::from_secs(1);
/// Faults in force at most.
const FAULTS_MAX: usize = 256;

#[derive(Default)]
struct Faults {
    leases: BTreeMap<String, Arc<Lease>>,
    /// No more faults: everything is being healed for the last time.
    closed: bool,
}

/// The faults of one agent.
pub struct Leases {
    state: Arc<State>,
    supervisor: Arc<Supervisor>,
    mechanisms: Mechanisms,
    events: mpsc::UnboundedSender<Response>,
    /// Heals what this agent can no longer.
    guard: Arc<Guard>,
    faults: Mutex<Faults>,
    heartbeat: Mutex<Instant>,
    /// The longest lease since the controller was heard; zero without any.
    longest: Mutex<Duration>,
    /// There is a new lease to watch.
    changed: Notify,
    /// Entries that cannot be understood.
    unreadable: Vec<String>,
    /// Processes that were stopped when this began, and no journal knew why.
    continued: Mutex<Vec<String>>,
}

impl Leases {
    /// Undoes what the journal says an earlier agent left, and says what that was. What cannot be undone stays in the
    /// journal and is residue.
    ///
    /// # Errors
    /// The journal cannot be read: a sentence.
    pub async fn replay(
        state: Arc<State>,
        supervisor: Arc<Supervisor>,
        mechanisms: Mechanisms,
        events: mpsc::UnboundedSender<Response>,
        guard: Arc<Guard>,
    ) -> Result<(Arc<Self>, Vec<String>), String> {
        let mut unreadable = Vec::new();
        let mut faults = Faults::default();
        let mut healed = BTreeSet::new();
        let scope = proc::scope();
        for entry in state.all::<Entry>(Shelf::Journal)? {
            match entry {
                // The processes of before a reboot are gone, and nothing holds this one down any more. Whether the node
                // starts it at boot is the node's affair, as after any loss of power.
                Ok(Entry { version: ENTRY_VERSION, id, fault: NodeFault::Kill { process }, scope: Some(before), .. })
                    if before != scope =>
                {
                    supervisor.hold_down(&process, false);
                    state.remove(Shelf::Journal, &id)?;
                    healed.insert(id);
                }
                Ok(entry) if entry.version == ENTRY_VERSION => {
                    let lease = Lease::new(&mechanisms, entry.id.clone(), entry.fault, entry.lease_ms);
                    lease.set(Phase::Healing);
                    faults.leases.insert(entry.id, Arc::new(lease));
                }
                Ok(entry) => unreadable.push(format!(
                    "the journal entry of fault `{}` is of version {}, this agent writes {ENTRY_VERSION}: heal with the \
                     schism that made it",
                    entry.id, entry.version
                )),
                Err(error) => unreadable.push(error),
            }
        }
        let leases = Arc::new(Self {
            state,
            supervisor,
            mechanisms,
            events,
            guard,
            faults: Mutex::new(faults),
            heartbeat: Mutex::new(Instant::now()),
            longest: Mutex::default(),
            changed: Notify::new(),
            unreadable,
            continued: Mutex::default(),
        });
        let before = leases.ids();
        let feeding = tokio::spawn(Arc::clone(&leases).feed_watchdog());
        leases.undo_all().await;
        feeding.abort();
        let after = leases.ids();
        healed.extend(before.into_iter().filter(|id| !after.contains(id)));
        if after.is_empty() {
            let supervisor = Arc::clone(&leases.supervisor);
            let continued = block_any(move || supervisor.continue_stopped()).await?;
            *leases.continued.lock().unwrap_or_else(PoisonError::into_inner) = continued;
        }
        Ok((leases, healed.into_iter().collect()))
    }

    /// Whether somebody is having a fault made, or has one in force.
    pub fn is_any_in_force(&self) -> bool {
        let faults = self.faults();
        faults.leases.values().any(|lease| matches!(*lease.phase(), Phase::Injecting | Phase::InForce))
    }

    /// Processes that were found stopped at the beginning though no journal said so, and were continued; one line each.
    pub fn continued(&self) -> Vec<String> {
        self.continued.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether every fault is known to be gone that an entry names which can be understood.
    pub fn is_healed(&self) -> bool {
        self.faults().leases.is_empty()
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> Vec<String> {
        self.faults().leases.keys().cloned().collect()
    }

    fn get(&self, id: &str) -> Option<Arc<Lease>> {
        self.faults().leases.get(id).cloned()
    }

    /// Can this node make the fault?
    ///
    /// # Errors
    /// A sentence.
    pub async fn precheck(&self, fault: &NodeFault) -> Result<(), String> {
        let mechanism = (self.mechanisms)("precheck", fault);
        let supervisor = Arc::clone(&self.supervisor);
        block(move || mechanism.precheck(&*supervisor)).await
    }

    /// Could this node make the fault if it had the process concerned? Changes nothing.
    ///
    /// # Errors
    /// What is missing, and what would provide it.
    pub async fn rehearse(&self, fault: &NodeFault) -> Result<(), String> {
        let mechanism = (self.mechanisms)("precheck", fault);
        block_any(move || mechanism.precheck(&Bystander).map_err(|error| error.reason)).await
    }

    /// Journals a fault and makes it.
    ///
    /// # Errors
    /// A sentence; then the fault was undone, or the sentence says that it could not be.
    pub async fn inject(self: &Arc<Self>, id: &str, fault: NodeFault, lease_ms: u64) -> Result<(), String> {
        if lease_ms == 0 || Duration::from_millis(lease_ms) > LEASE_MAX {
            return Err(format!(
                "a lease of {lease_ms} ms: it has to be 1 ms to {} h",
                LEASE_MAX.as_secs() / 3600
            ));
        }
        let entry =
            Entry { version: ENTRY_VERSION, id: id.to_owned(), fault, lease_ms, scope: Some(proc::scope()) };
        let path = self.state.path(Shelf::Journal, id)?;
        let lease = Arc::new(Lease::new(&self.mechanisms, id.to_owned(), entry.fault.clone(), lease_ms));
        {
            let mut faults = self.faults();
            if faults.closed {
                return Err("the agent is healing everything and makes no more faults".to_owned());
            }
            if faults.leases.contains_key(id) {
                return Err(format!("a fault `{id}` is in force already, or not yet seen to be healed"));
            }
            if path.exists() {
                return Err(format!(
                    "{} is in the way: it is another fault's undo; see the residue",
                    path.display()
                ));
            }
            if faults.leases.len() >= FAULTS_MAX {
                return Err(format!("{FAULTS_MAX} faults are in force already"));
            }
            faults.leases.insert(id.to_owned(), Arc::clone(&lease));
            let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
            *longest = lease.length.max(*longest);
        }
        let length = lease.length;
        let supervisor = Arc::clone(&self.supervisor);
        let mechanism = Arc::clone(&lease.mechanism).lock_owned().await;
        let leases = Arc::clone(self);
        let checked = block_any(move || {
            mechanism.precheck(&*supervisor).map_err(|error| error.to_string())?;
            leases.guard.ensure(|| leases.dead_after())?;
            Ok(mechanism)
        })
        .await;
        let mut mechanism = match checked {
            Ok(mechanism) if *lease.phase() == Phase::Injecting => mechanism,
            // Somebody healed everything meanwhile, and this with it.
            Ok(_) => return Err("it was healed before it was made".to_owned()),
            Err(reason) => {
                self.faults().leases.remove(id);
                return Err(reason);
            }
        };
        let state = Arc::clone(&self.state);
        let supervisor = Arc::clone(&self.supervisor);
        let injected = block_any(move || {
            state.put(Shelf::Journal, &entry.id, &entry)?;
            mechanism.inject(&*supervisor, length).map_err(|error| error.to_string())
        })
        .await;
        if let Err(reason) = injected {
            return Err(match self.undo(&lease).await {
                Ok(()) => reason,
                Err(stuck) => format!("{reason}; and it could not be undone: {stuck}"),
            });
        }
        // A heal may have been asked for since; then that is what it is.
        let mut phase = lease.phase();
        if *phase == Phase::Injecting {
            *phase = Phase::InForce;
        }
        drop(phase);
        self.changed.notify_one();
        tracing::info!(event = "fault injected", id, fault = ?lease.fault);
        Ok(())
    }

    /// Does the fault bite?
    ///
    /// # Errors
    /// A sentence.
    pub async fn verify(&self, id: &str, patience: Duration) -> Result<Evidence, String> {
        let lease = self.get(id).ok_or_else(|| {
            format!("no fault `{id}` is in force on this node: it was healed, or its lease ran out")
        })?;
        self.look(&lease, patience, |mechanism, host, patience| mechanism.verify(host, patience)).await
    }

    /// Undoes the fault.
    ///
    /// # Errors
    /// A sentence; the fault is residue then.
    pub async fn heal(&self, id: &str) -> Result<(), String> {
        let Some(lease) = self.get(id) else { return Ok(()) };
        let supervisor = Arc::clone(&self.supervisor);
        let mut mechanism = Arc::clone(&lease.mechanism).lock_owned().await;
        lease.set(Phase::Healing);
        let healed = block_any(move || {
            retry(|| mechanism.heal(&*supervisor).map(|()| true))
                .map_err(|error| error.to_string())
                .map(|_| ())
        })
        .await;
        match &healed {
            Ok(()) => {
                lease.set(Phase::Healed);
                tracing::info!(event = "fault healed", id);
            }
            Err(reason) => self.stuck(&lease, reason),
        }
        healed
    }

    /// Is everything of the fault gone? Then it is forgotten.
    ///
    /// # Errors
    /// A sentence.
    pub async fn verify_healed(&self, id: &str, patience: Duration) -> Result<Evidence, String> {
        let Some(lease) = self.get(id) else {
            return Ok(Evidence { holds: true, seen: format!("no fault `{id}` is in force on this node") });
        };
        let evidence = self
            .look(&lease, patience, |mechanism, host, patience| mechanism.verify_healed(host, patience))
            .await?;
        // What nobody healed may be gone for a moment only.
        if evidence.holds && *lease.phase() == Phase::Healed {
            self.forget(&lease).await?;
        }
        Ok(evidence)
    }

    /// Looks in short turns until the evidence holds or the patience ends.
    async fn look(
        &self,
        lease: &Lease,
        patience: Duration,
        look: fn(&mut dyn Mechanism, &dyn Host, Duration) -> Result<Evidence, FaultError>,
    ) -> Result<Evidence, String> {
        let begin = Instant::now();
        loop {
            let turn = patience.saturating_sub(begin.elapsed()).min(LOOK);
            let supervisor = Arc::clone(&self.supervisor);
            let mut mechanism = Arc::clone(&lease.mechanism).lock_owned().await;
            let evidence = block(move || look(&mut **mechanism, &*supervisor, turn)).await?;
            if evidence.holds || begin.elapsed() >= patience {
                return Ok(evidence);
            }
            // A mechanism that answers before its turn is over would spin.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Makes no more faults and undoes all there are.
    ///
    /// # Errors
    /// What could not be undone: a sentence.
    pub async fn close(self: &Arc<Self>) -> Result<(), String> {
        self.faults().closed = true;
        self.undo_all().await;
        let left = self.residue();
        if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
    }

    /// Lets the watchdog go. It heals what is left, once nobody else can.
    pub async fn dismiss_watchdog(self: &Arc<Self>) {
        let leases = Arc::clone(self);
        if let Err(error) =
            tokio::task::spawn_blocking(move || leases.guard.dismiss(leases.is_healed())).await
        {
            tracing::error!(%error, "the watchdog was not dismissed");
        }
    }

    /// Faults that are not known to be gone, one line each.
    pub fn residue(&self) -> Vec<String> {
        let mut found = self.unreadable.clone();
        for lease in self.faults().leases.values() {
            let id = &lease.id;
            found.push(match &*lease.phase() {
                Phase::Injecting => format!("fault `{id}` is being made"),
                Phase::InForce => format!("fault `{id}` is in force"),
                Phase::Healing => format!("fault `{id}` is being healed"),
                Phase::Healed => format!("fault `{id}` is healed, but was not yet seen to be gone"),
                Phase::Stuck(reason) => {
                    format!("fault `{id}` ({:?}) could not be healed: {reason}", lease.fault)
                }
            });
        }
        found
    }
}

async fn block<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FaultError> + Send + 'static,
) -> Result<T, String> {
    block_any(move || work().map_err(|error| error.to_string())).await
}

/// Runs what blocks on a thread for that. A panic there is an error here.
async fn block_any<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(format!("the agent failed inside: {error}; its log says where")),
    }
}
