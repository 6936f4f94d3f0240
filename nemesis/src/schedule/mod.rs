//! From what a person wrote to a timeline: pure and seeded, the same bytes for the same input.
//!
//! `choice` checks every shape and target against the cluster and draws its nodes, `random` decides when what happens
//! under a policy, `fixed` takes the times from the file.

mod choice;
mod fixed;
mod random;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::spec::{NemesisSpec, Target};
use crate::timeline::{FaultKind, Planned, PlannedFault, Timeline};

/// More faults than this are a slip of the pen, and a plan nobody can read.
pub const FAULTS_MAX: u64 = 100_000;

/// Why a nemesis makes no sense on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", path.join("."))]
pub struct PlanError {
    /// Keys and list positions from the root of the test file to the value in question: `nemesis`, `faults`, `0`, `kill`,
    /// `targets`, `1`. Its last steps may be missing in the file where a default is meant.
    pub path: Vec<String>,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// What the choices are checked against.
#[derive(Clone, Copy, Debug)]
struct Cluster<'a> {
    nodes: &'a [String],
    has_leader: bool,
    /// How many nodes may be down at once.
    down_max: usize,
}

/// A fault with its time, before it has a name and a lane.
#[derive(Clone, Debug)]
struct Dated {
    at_ns: u64,
    for_ns: u64,
    fault: Planned,
}

impl Dated {
    fn end_ns(&self) -> u64 {
        self.at_ns.saturating_add(self.for_ns)
    }
}

/// Plans every fault of a run of `time_limit` on `nodes`.
///
/// `roles_available` are the roles that the system under test can tell (`leader`). Times count from the start of the
/// load. No fault outlasts `time_limit`: one that would is cut short there, since everything is healed then.
///
/// # Errors
/// Everything that is wrong, in the order of the file.
pub fn plan(
    spec: &NemesisSpec,
    nodes: &[String],
    roles_available: &[&str],
    seed: u64,
    time_limit: Duration,
) -> Result<Timeline, Vec<PlanError>> {
    let mut errors = Errors::default();
    let down_max = down_max(spec.max_down.as_ref(), nodes.len(), &mut errors);
    let cluster = Cluster { nodes, has_leader: roles_available.contains(&"leader"), down_max };
    // Below the largest number, so that a sum that reached it is known to be beyond the limit.
    let limit_ns = u64::try_from(time_limit.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX - 1);
    if nodes.is_empty() {
        errors.add(&["nemesis"], "the cluster has no nodes to make faults on");
        return Err(errors.0);
    }
    let dated = match (&spec.faults, &spec.timeline) {
        (Some(faults), None) => random::plan(spec, faults, cluster, seed, limit_ns, &mut errors),
        (None, Some(entries)) => {
            refuse_policy_keys(spec, &mut errors);
            fixed::plan(entries, cluster, seed, limit_ns, &mut errors)
        }
        (Some(_), Some(_)) => {
            let message =
                "a nemesis is either a policy or a timeline; remove `timeline`, or `every` and `faults`";
            errors.add(&["nemesis", "timeline"], message);
            Vec::new()
        }
        (None, None) => {
            let message = "no faults; write `every` and `faults`, or a `timeline`, or leave `nemesis` out";
            errors.add(&["nemesis"], message);
            Vec::new()
        }
    };
    if errors.0.is_empty() { Ok(Timeline { faults: name(dated) }) } else { Err(errors.0) }
}

/// How many of `nodes` nodes may be down at once.
fn down_max(said: Option<&Target>, nodes: usize, errors: &mut Errors) -> usize {
    let minority = (nodes.saturating_sub(1) / 2).max(1);
    match said {
        None | Some(Target::Minority) => minority,
        Some(Target::One) => 1,
        Some(Target::Majority) => nodes / 2 + 1,
        Some(Target::All) => nodes,
        Some(Target::Count(count)) if *count > 0 => usize::try_from(*count).unwrap_or(usize::MAX),
        Some(_) => {
            errors.add(
                &["nemesis", "max-down"],
                "is no number of nodes; write minority, majority, all, or a number from 1",
            );
            nodes
        }
    }
}

fn refuse_policy_keys(spec: &NemesisSpec, errors: &mut Errors) {
    let keys = [
        ("every", spec.every.is_some()),
        ("duration", spec.duration.is_some()),
        ("overlap", spec.overlap.is_some()),
        ("warm-up", spec.warm_up.is_some()),
    ];
    for (key, written) in keys {
        if written {
            errors.add(
                &["nemesis", key],
                "goes with `faults`; a timeline sets each fault's time itself, remove it",
            );
        }
    }
}

/// Gives each fault its id, and the first lane of its kind that is free.
fn name(dated: Vec<Dated>) -> Vec<PlannedFault> {
    let mut counts: BTreeMap<FaultKind, usize> = BTreeMap::new();
    let mut lanes: Vec<(FaultKind, u64)> = Vec::new();
    let mut faults = Vec::with_capacity(dated.len());
    for Dated { at_ns, for_ns, fault } in dated {
        let kind = fault.kind();
        let count = counts.entry(kind).or_default();
        *count += 1;
        let free = lanes.iter().position(|(of, busy_until)| *of == kind && *busy_until <= at_ns);
        let lane = free.unwrap_or(lanes.len());
        let busy = (kind, at_ns.saturating_add(for_ns));
        match lanes.get_mut(lane) {
            Some(slot) => *slot = busy,
            None => lanes.push(busy),
        }
        faults.push(PlannedFault { id: format!("{}-{count}", kind.name()), lane, at_ns, for_ns, fault });
    }
    faults
}

/// All errors in one go.
#[derive(Debug, Default)]
struct Errors(Vec<PlanError>);

impl Errors {
    fn add<S: AsRef<str>>(&mut self, path: &[S], message: impl Into<String>) {
        let path = path.iter().map(|step| step.as_ref().to_owned()).collect();
        self.0.push(PlanError { path, message: message.into() });
    }
}

/// `path` with more steps.
fn below(path: &[String], steps: &[&str]) -> Vec<String> {
    path.iter().cloned().chain(steps.iter().map(|step| (*step).to_owned())).collect()
}

#[cfg(test)]
mod tests;
