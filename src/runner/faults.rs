//! Carries out the planned faults on the nodes: resolve, inject, prove that it bites, heal, prove that it is gone.
//!
//! Whatever becomes of a fault goes into the history: what did not bite makes the run void, what did not heal is
//! residue. Nothing here decides either.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schism_nemesis::node::{NodeFault, Peer};
use schism_nemesis::resolve::{Roles, resolve};
use schism_nemesis::timeline::{PlannedFault, Timeline};
use schism_workloads::{BoxFuture, Op};
use serde_json::{Value, json};

use super::capture::Capture;
use super::fleet::Fleet;
use super::live::Live;
use super::roles::RoleWatch;
use crate::scheduler::NemesisExecutor;

/// A fault's lease on the node. The controller's heartbeat renews it every two seconds.
pub const LEASE: Duration = Duration::from_secs(10);
/// How long a fault has to show that it bites.
const BITE_PATIENCE: Duration = Duration::from_millis(1500);
/// How long healing has to show.
const HEAL_PATIENCE: Duration = Duration::from_secs(5);
/// Senders are poked this often while the receiver waits for something to drop.
const POKE_PERIOD: Duration = Duration::from_millis(20);
/// A UDP port nobody listens on (discard): what is sent there disturbs no one.
const POKE_PORT: u16 = 9;
/// How long a fault waits for a leader to be known. After a fault, on a busy machine, elections can go on for this long.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);

/// A fault on the nodes.
#[derive(Clone)]
struct InForce {
    planned: PlannedFault,
    what: String,
    targets: Vec<String>,
    /// Node index, the agent's fault id, the fault.
    parts: Vec<(usize, String, NodeFault)>,
    cuts: Vec<(usize, usize)>,
    ended_early: Option<String>,
}

/// The nemesis of a run.
pub struct Faults {
    fleet: Arc<Fleet>,
    peers: Vec<Peer>,
    planned: BTreeMap<String, PlannedFault>,
    roles: Option<Arc<RoleWatch>>,
    process: String,
    live: Live,
    runtime: tokio::runtime::Handle,
    in_force: Mutex<BTreeMap<String, InForce>>,
    capture: Option<Capture>,
}

impl Faults {
    /// A nemesis for this timeline. `process` is the supervised process that kills and pauses hit; `capture` records packets
    /// while faults are in force.
    pub fn new(
        fleet: Arc<Fleet>,
        timeline: &Timeline,
        roles: Option<Arc<RoleWatch>>,
        process: &str,
        live: Live,
        capture: Option<Capture>,
    ) -> Arc<Self> {
        let peers = fleet
            .nodes()
            .iter()
            .map(|node| Peer { node: node.name.to_string(), address: node.address })
            .collect();
        let planned = timeline.faults.iter().map(|fault| (fault.id.clone(), fault.clone())).collect();
        Arc::new(Self {
            fleet,
            peers,
            planned,
            roles,
            process: process.to_owned(),
            live,
            runtime: tokio::runtime::Handle::current(),
            in_force: Mutex::default(),
            capture,
        })
    }

    fn in_force(&self) -> MutexGuard<'_, BTreeMap<String, InForce>> {
        // The map is whole between any two statements that hold the lock.
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The faults in force, by id, with what they are.
    pub fn unhealed(&self) -> Vec<(String, &'static str)> {
        self.in_force().iter().map(|(id, fault)| (id.clone(), fault.planned.fault.kind().name())).collect()
    }

    /// Takes note that a node ended its part of a fault by itself: its lease ran out, or its agent died.
    pub fn ended_early(&self, node: usize, agent_id: Option<&str>, why: &str) {
        for fault in self.in_force().values_mut() {
            let concerned = |(at, id, _): &(usize, String, NodeFault)| {
                *at == node && agent_id.is_none_or(|wanted| wanted == id)
            };
            if fault.parts.iter().any(concerned) {
                fault.ended_early.get_or_insert_with(|| why.to_owned());
            }
        }
    }

    async fn inject(&self, id: &str) -> Value {
        let begun = Instant::now();
        let Some(planned) = self.planned.get(id).cloned() else {
            return json!({ "id": id, "phase": "injected", "bit": false, "error": "not in the plan" });
        };
        let fault = match self.resolve(&planned).await {
            Ok(fault) => fault,
            Err(reason) => {
                tracing::warn!(event = "fault not made", fault = %id, %reason);
                return json!({ "id": id, "phase": "injected", "bit": false, "error": reason });
            }
        };
        if let Some(capture) = &self.capture {
            capture.begin(id).await;
        }
        // In force from here on, also when only half of it was made: healing must see it.
        self.in_force().insert(id.to_owned(), fault.clone());
        self.live.fault(id, &fault.what);
        let mut errors = self.on_parts(&fault, Act::Inject).await.err().into_iter().collect::<Vec<_>>();
        let mut seen = Vec::new();
        if errors.is_empty() {
            match self.prove(&fault).await {
                Ok((bit, evidence)) => {
                    if !bit {
                        errors.push(format!("no effect was seen: {}", describe(&evidence)));
                    }
                    seen = evidence;
                }
                Err(error) => errors.push(error),
            }
        }
        let bit = errors.is_empty();
        let millis = begun.elapsed().as_secs_f64() * 1000.0;
        let error = (!bit).then(|| errors.join("; "));
        tracing::info!(
            event = format!("{} injected", planned.fault.kind().name()),
            fault = %id, what = %fault.what, bit, millis, error = error.as_deref().unwrap_or("")
        );
        let mut value = json!({
            "id": id, "phase": "injected", "what": fault.what, "targets": fault.targets, "bit": bit,
            "millis": (millis * 10.0).round() / 10.0, "evidence": evidence(&seen),
        });
        if let Some(error) = error {
            value["error"] = json!(error);
        }
        value
    }

    /// Puts the roles into the plan: who leads now.
    async fn resolve(&self, planned: &PlannedFault) -> Result<InForce, String> {
        let deadline = Instant::now() + LEADER_PATIENCE;
        let (roles, resolved) = loop {
            let roles = match &self.roles {
                Some(watch) => watch.look().await,
                None => Roles::default(),
            };
            match resolve(&planned.fault, &self.peers, &roles, &self.process) {
                Ok(resolved) => break (roles, resolved),
                // An election may be under way.
                Err(error) if self.roles.is_some() && Instant::now() < deadline => {
                    tracing::debug!(fault = %planned.id, %error, "waiting for a leader");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        };
        let index = |name: &str| self.fleet.index(name).ok_or_else(|| format!("there is no node {name}"));
        let mut parts = Vec::new();
        for (node, faults) in &resolved.nodes {
            for (number, fault) in faults.iter().enumerate() {
                parts.push((index(node)?, format!("{}.{number}", planned.id), fault.clone()));
            }
        }
        let cuts = resolved
            .cuts
            .iter()
            .map(|cut| Ok((index(&cut.from)?, index(&cut.to)?)))
            .collect::<Result<Vec<_>, String>>()?;
        let what = match planned.fault.describe() {
            // Roles have names by now.
            what if what.contains("the leader") || what.contains("the followers") => {
                format!("{what} ({})", roles.leader.as_deref().unwrap_or("unknown"))
            }
            what => what,
        };
        Ok(InForce {
            planned: planned.clone(),
            what,
            targets: resolved.targets,
            parts,
            cuts,
            ended_early: None,
        })
    }

    /// Does one step on every node the fault concerns, all at once.
    async fn on_parts(&self, fault: &InForce, act: Act) -> Result<Vec<Seen>, String> {
        let mut tasks = Vec::new();
        for (node, id, part) in fault.parts.clone() {
            let fleet = Arc::clone(&self.fleet);
            tasks.push(tokio::spawn(async move {
                let name = fleet.nodes()[node].name.to_string();
                let agent = fleet.agent(node).await.map_err(|error| error.to_string())?;
                let evidence = match act {
                    Act::Inject => agent.inject(&id, &part, LEASE).await.map(|()| None),
                    Act::Verify => agent.verify(&id, BITE_PATIENCE).await.map(Some),
                    Act::Heal => agent.heal(&id).await.map(|()| None),
                    Act::VerifyHealed => agent.verify_healed(&id, HEAL_PATIENCE).await.map(Some),
                };
                let evidence = evidence.map_err(|error| error.to_string())?;
                Ok::<_, String>(evidence.map(|evidence| Seen {
                    node: name,
                    holds: evidence.holds,
                    seen: evidence.seen,
                }))
            }));
        }
        let mut seen = Vec::new();
        let mut errors = Vec::new();
        for task in tasks {
            match task.await {
                Ok(Ok(evidence)) => seen.extend(evidence),
                Ok(Err(error)) => errors.push(error),
                Err(error) => {
                    errors.push(format!("a step of {} ended unexpectedly: {error}", fault.planned.id))
                }
            }
        }
        if errors.is_empty() { Ok(seen) } else { Err(errors.join("; ")) }
    }

    /// Looks for the effect. A partition needs traffic to drop: the senders poke while the receivers look.
    async fn prove(&self, fault: &InForce) -> Result<(bool, Vec<Seen>), String> {
        let pokes = tokio::spawn(poke(Arc::clone(&self.fleet), fault.cuts.clone()));
        let seen = self.on_parts(fault, Act::Verify).await;
        pokes.abort();
        let seen = seen?;
        Ok((!seen.is_empty() && seen.iter().all(|seen| seen.holds), seen))
    }

    /// Undoes the fault, with proof; what came of it, as the history says it. Fine when there is none.
    pub async fn heal(&self, id: &str) -> Value {
        let fault = self.in_force().get(id).cloned();
        let Some(fault) = fault else {
            return json!({ "id": id, "phase": "healed", "healed": true, "evidence": [] });
        };
        let begun = Instant::now();
        let mut errors = Vec::new();
        let mut seen = Vec::new();
        if let Err(error) = self.on_parts(&fault, Act::Heal).await {
            errors.push(error);
        }
        match self.on_parts(&fault, Act::VerifyHealed).await {
            Ok(found) => {
                errors.extend(
                    found
                        .iter()
                        .filter(|seen| !seen.holds)
                        .map(|seen| format!("{}: {}", seen.node, seen.seen)),
                );
                seen = found;
            }
            Err(error) => errors.push(error),
        }
        match self.crossing(id, &fault.cuts).await {
            Ok(()) => {}
            Err(error) => errors.push(error),
        }
        let mut ended_early = fault.ended_early;
        if !errors.is_empty() && self.fleet.is_lost().await {
            // Nothing is left that could be healed, nor anybody who could say so.
            errors.clear();
            ended_early = Some("it went with the cluster, which died".to_owned());
        }
        let healed = errors.is_empty();
        if healed {
            self.in_force().remove(id);
            self.live.healed(id);
            if let Some(capture) = &self.capture {
                capture.end().await;
            }
        }
        let millis = begun.elapsed().as_secs_f64() * 1000.0;
        tracing::info!(event = "healed", fault = %id, what = %fault.what, healed, millis, error = errors.join("; "));
        let mut value = json!({
            "id": id, "phase": "healed", "what": fault.what, "targets": fault.targets, "healed": healed,
            "millis": (millis * 10.0).round() / 10.0, "evidence": evidence(&seen),
        });
        if !healed {
            value["error"] = json!(errors.join("; "));
        } else if let Some(why) = ended_early {
            value["error"] = json!(format!("ended before its time: {why}"));
        }
        value
    }

    /// After a partition every sender must reach its receiver again, unless another fault still cuts the two.
    async fn crossing(&self, id: &str, cuts: &[(usize, usize)]) -> Result<(), String> {
        let still = cut_by_others(&self.in_force(), id);
        let mut by_sender: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in cuts {
            if !still.contains(&(*from, *to)) && !still.contains(&(*to, *from)) {
                by_sender.entry(*from).or_default().push(*to);
            }
        }
        let mut tasks = Vec::new();
        for (from, receivers) in by_sender {
            let fleet = Arc::clone(&self.fleet);
            tasks.push(tokio::spawn(async move {
                let nodes = fleet.nodes();
                let addresses: Vec<SocketAddr> =
                    receivers.iter().map(|to| SocketAddr::new(nodes[*to].address, POKE_PORT)).collect();
                let agent = fleet.agent(from).await.map_err(|error| error.to_string())?;
                let answered =
                    agent.reach(&addresses, HEAL_PATIENCE).await.map_err(|error| error.to_string())?;
                match receivers.iter().zip(answered).find(|(_, answered)| !answered) {
                    Some((to, _)) => {
                        Err(format!("{} still does not reach {}", nodes[from].name, nodes[*to].name))
                    }
                    None => Ok(()),
                }
            }));
        }
        for task in tasks {
            task.await.map_err(|error| error.to_string())??;
        }
        Ok(())
    }
}

/// What faults other than `id` cut. Its own cuts must not excuse it: while it is healed it is still listed.
fn cut_by_others(in_force: &BTreeMap<String, InForce>, id: &str) -> Vec<(usize, usize)> {
    // By name: another fault may cut the very same.
    let others = in_force.iter().filter(|(other, _)| *other != id);
    others.flat_map(|(_, other)| other.cuts.clone()).collect()
}

/// One step of a fault's life on a node.
#[derive(Clone, Copy)]
enum Act {
    Inject,
    Verify,
    Heal,
    VerifyHealed,
}

struct Seen {
    node: String,
    holds: bool,
    seen: String,
}

fn evidence(seen: &[Seen]) -> Value {
    seen.iter().map(|seen| json!({ "node": seen.node, "holds": seen.holds, "seen": seen.seen })).collect()
}

fn describe(seen: &[Seen]) -> String {
    let clauses: Vec<String> =
        seen.iter().filter(|seen| !seen.holds).map(|seen| format!("{}: {}", seen.node, seen.seen)).collect();
    clauses.join("; ")
}

/// Pokes until aborted: each sender its receivers.
async fn poke(fleet: Arc<Fleet>, cuts: Vec<(usize, usize)>) {
    let mut by_sender: BTreeMap<usize, Vec<SocketAddr>> = BTreeMap::new();
    for (from, to) in cuts {
        by_sender.entry(from).or_default().push(SocketAddr::new(fleet.nodes()[to].address, POKE_PORT));
    }
    let mut period = tokio::time::interval(POKE_PERIOD);
    loop {
        period.tick().await;
        let pokes = by_sender.iter().map(|(from, addresses)| {
            let fleet = Arc::clone(&fleet);
            async move {
                // Whether anything arrived is the receiver's to say.
                if let Ok(agent) = fleet.agent(*from).await {
                    let _ = agent.poke(addresses).await;
                }
            }
        });
        for poke in pokes {
            poke.await;
        }
    }
}

/// The nemesis as the scheduler sees it.
pub struct Executor(pub Arc<Faults>);

impl NemesisExecutor for Executor {
    fn invoke(&self, op: Op) -> BoxFuture<'static, Value> {
        let faults = Arc::clone(&self.0);
        // On the run's own runtime: an agent that is started again must outlive the scheduler's.
        let done = self.0.runtime.spawn(async move {
            let id = op.value.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            match op.value.get("phase").and_then(Value::as_str) {
                Some("heal") => faults.heal(&id).await,
                _ => faults.inject(&id).await,
            }
        });
        Box::pin(async move {
            match done.await {
                Ok(value) => value,
                Err(error) => json!({ "bit": false, "healed": false, "error": error.to_string() }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_another_fault_cuts_as_well_need_not_be_crossed() {
        let fault = |cuts: &[(usize, usize)]| InForce {
            planned: PlannedFault {
                id: String::new(),
                lane: 0,
                at_ns: 0,
                for_ns: 1,
                fault: schism_nemesis::timeline::Planned::Partition(
                    schism_nemesis::timeline::Partition::IsolateLeader,
                ),
            },
            what: String::new(),
            targets: Vec::new(),
            parts: Vec::new(),
            cuts: cuts.to_vec(),
            ended_early: None,
        };
        let both = [(0, 1), (1, 0)];
        let mut in_force = BTreeMap::from([("partition-1".to_owned(), fault(&both))]);
        assert_eq!(cut_by_others(&in_force, "partition-1"), [], "its own cuts are no excuse");
        in_force.insert("partition-2".to_owned(), fault(&both));
        assert_eq!(cut_by_others(&in_force, "partition-1"), both, "another fault may cut the very same");
    }
}
