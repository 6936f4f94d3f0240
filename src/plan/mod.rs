//! The plan: everything a run will do, resolved and seeded, before anything is touched.
//!
//! [`prepare`] reads a test file and the system it names, [`resolve`] makes the [`Plan`] of both: a pure function, the
//! same bytes for the same input. It goes to `plan.json`, from which a run can be repeated, and [`Plan::print`] shows it
//! to a person. Nothing here touches a node, looks for a binary or knows how a fault is made.

mod cluster;
mod commands;
mod print;
mod resolve;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use schism_nemesis::timeline::Timeline;
use schism_units::{Size, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use cluster::{cluster_of, controller_address, local_nodes, stand_in};
pub use resolve::{prepare, resolve};

use crate::spec::{Cluster, Power, SshCluster, SshHosts, Workload};
use crate::system::{ClusterNode, NodeContext, NodeSetup, RenderError, SystemDef, render};

/// Everything a run will do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// The version of Schism that made the plan.
    pub schism: String,
    /// The test's name.
    pub name: String,
    /// The test file's path, as it was given.
    pub file: String,
    /// The `--set` options given with it.
    pub overrides: Vec<String>,
    /// What everything random follows from.
    pub seed: u64,
    /// The nodes.
    pub cluster: PlannedCluster,
    /// The system under test.
    pub system: PlannedSystem,
    /// What each node does, in the order of the nodes. Binaries go by their bare names here; [`Plan::setups`] knows better.
    pub setups: Vec<NodeSetup>,
    /// The load.
    pub workload: PlannedWorkload,
    /// The life of the run.
    pub phases: Vec<Phase>,
    /// How long load and faults go on.
    pub time_limit: Span,
    /// Rest between the last heal and the final reads.
    pub settle: Span,
    /// The faults.
    pub faults: Timeline,
    /// Whether packets are recorded while faults are in force.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub capture: bool,
    /// The checkers.
    pub checks: Vec<PlannedCheck>,
    /// What the run must have done before `pass` means anything.
    pub power: Power,
}

/// The nodes of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlannedCluster {
    /// Where they come from.
    pub kind: Cluster,
    /// Their names and addresses, in order.
    pub nodes: Vec<ClusterNode>,
}

/// The system of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlannedSystem {
    /// Its whole description: a plan does not depend on files that may change.
    pub def: SystemDef,
    /// The version wanted; absent where any will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The Debian package file to take it from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// A value for every setting that it declares.
    pub settings: BTreeMap<String, Value>,
}

/// The load of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlannedWorkload {
    /// What the test file says, defaults filled in.
    pub spec: Workload,
    /// How many workers that is on this cluster.
    pub workers: usize,
    /// The client that carries the operations.
    pub client: String,
    /// The port it connects to on each node.
    pub port: u16,
    /// The operations that the workload sends, by their names in the history.
    pub operations: Vec<String>,
    /// The consistency that reads ask for; absent where there is no choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<String>,
}

/// A stage of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Phase {
    /// Its name, a word or two.
    pub name: String,
    /// What happens in it.
    pub what: String,
    /// How long it takes.
    pub length: Length,
}

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// As long as it needs.
    Open,
    /// No longer than this.
    AtMost(Span),
    /// Just this long.
    Exactly(Span),
}

/// A checker with its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlannedCheck {
    /// Its name, as `schism list checkers` shows it.
    pub checker: String,
    /// The model checked against.
    pub model: String,
    /// The time it may take.
    pub time_limit: Span,
    /// The memory it may take.
    pub memory_limit: Size,
}

impl Plan {
    /// What each node does, with the binaries where they really are: their paths on the nodes, by name.
    ///
    /// # Errors
    /// A template that fails with these paths, or a binary that is missing among them.
    pub fn setups(&self, binaries: &BTreeMap<String, String>) -> Result<Vec<NodeSetup>, RenderError> {
        (0..self.cluster.nodes.len()).map(|index| self.setup(index, binaries)).collect()
    }

    /// What the node with this index does, with the binaries where they are on it.
    ///
    /// # Errors
    /// As [`Plan::setups`].
    pub fn setup(&self, index: usize, binaries: &BTreeMap<String, String>) -> Result<NodeSetup, RenderError> {
        let (nodes, settings) = (&self.cluster.nodes, &self.system.settings);
        render(&self.system.def, NodeContext { nodes, index, settings, binaries })
    }

    /// The same plan with the addresses that were found on the nodes, in their order, in place of those that stood for them.
    ///
    /// # Errors
    /// A template that fails with these addresses.
    pub fn with_addresses(&self, addresses: &[IpAddr]) -> Result<Self, RenderError> {
        let mut plan = self.clone();
        for (node, address) in plan.cluster.nodes.iter_mut().zip(addresses) {
            node.address = *address;
        }
        if let Cluster::Ssh(SshCluster { hosts: SshHosts::List(hosts), .. }) = &mut plan.cluster.kind {
            for (host, address) in hosts.iter_mut().zip(addresses) {
                host.address = Some(*address);
            }
        }
        let names = plan.system.def.binary_names();
        plan.setups = plan.setups(&names)?;
        Ok(plan)
    }
}

impl PlannedWorkload {
    /// The load in one line: `register, 10 keys, 1000/s, 10 workers`.
    pub fn line(&self) -> String {
        let Workload::Register(spec) = &self.spec;
        let reads = self.reads.as_ref().map_or_else(String::new, |reads| format!(", {reads} reads"));
        format!("{}, {} keys, {}, {} workers{reads}", self.spec.name(), spec.keys, spec.rate, self.workers)
    }
}

impl Plan {
    /// The run in one line.
    pub fn headline(&self) -> String {
        let faults = match self.faults.faults.len() {
            0 => "no faults".to_owned(),
            1 => "1 fault".to_owned(),
            count => format!("{count} faults"),
        };
        format!(
            "{}: {} on {} nodes, {}, {faults}, {}",
            self.name,
            self.system.def.name,
            self.cluster.nodes.len(),
            self.workload.line(),
            self.time_limit
        )
    }

    /// The text of `plan.json`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self)
            .unwrap_or_else(|error| unreachable!("a plan is plain data: {error}"));
        text.push(b'\n');
        text
    }

    /// Reads `plan.json` back.
    ///
    /// # Errors
    /// The file cannot be read, or is no plan of this version.
    pub fn read(path: &Path) -> Result<Self, PlanFileError> {
        let name = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| PlanFileError::Read { path: name(), source })?;
        serde_json::from_slice(&bytes).map_err(|source| PlanFileError::Shape { path: name(), source })
    }
}

/// Why a plan cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The file system refused.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What it said.
        source: std::io::Error,
    },
    /// Not JSON, or of another version.
    #[error("{path} is no plan that this version reads: {source}")]
    Shape {
        /// The file.
        path: String,
        /// Where and why.
        source: serde_json::Error,
    },
}

fn setups(
    def: &SystemDef,
    nodes: &[ClusterNode],
    settings: &BTreeMap<String, Value>,
    binaries: &BTreeMap<String, String>,
) -> Result<Vec<NodeSetup>, RenderError> {
    (0..nodes.len()).map(|index| render(def, NodeContext { nodes, index, settings, binaries })).collect()
}
