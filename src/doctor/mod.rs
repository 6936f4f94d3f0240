//! Whether a test can run on a cluster, or faults be made on hosts, before anybody tries.
//!
//! Every node is asked for itself, by an agent on it, over the way that a run would take; a node that cannot be reached is a row of the
//! answer and keeps nobody else from answering. What can be asked of the code that does it in a run is asked of that: the
//! transports, the mechanisms' own `precheck`, the search for programs. So this cannot say one thing and a run another.
//!
//! | file | what |
//! |---|---|
//! | `ask` | asks the nodes: plain data, no judgement |
//! | `judge` | what that means for a purpose, with a sentence of what to do |
//! | `print` | the table on the terminal |
//!
//! Nothing is started or stopped on the nodes. One thing does change: an agent that starts heals what an earlier one left.

mod ask;
mod judge;
mod print;

use std::collections::BTreeSet;
use std::net::IpAddr;

use schism_nemesis::timeline::FaultKind;
use serde::Serialize;

use self::ask::Asked;
use self::judge::{Purpose, Supply};
use crate::agent::facts::Facts;
use crate::plan::Plan;
use crate::runner::provision;
use crate::spec::Cluster;
use crate::system::install::OWN_BINARY;
use crate::transport::ssh::SshOptions;

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The test's name; absent where hosts were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Whether the test can run; for hosts: whether every kind of fault can be made on all of them.
    pub can_run: bool,
    /// The nodes, in order.
    pub nodes: Vec<NodeReport>,
}

impl Report {
    /// The table and the sentences for a terminal of this many columns.
    pub fn print(&self, width: usize) -> String {
        print::print(self, width)
    }
}

/// What was found on one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeReport {
    /// The node's name.
    pub name: String,
    /// The address that other nodes know it by, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The same checks for every node, in the same order.
    pub checks: Vec<Check>,
    /// What its agent said; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
}

/// One check of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// Its name.
    pub check: &'static str,
    /// How it went.
    pub state: State,
    /// What was seen, a word or two.
    pub seen: String,
    /// For notes and problems: what it means and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Fine,
    /// Worth knowing; keeps nothing from running.
    Note,
    /// In the way.
    Problem,
    /// The node could not be asked.
    Unknown,
}

/// Asks every node of a plan, and whether the programs of its system can be had. `faults` are the kinds that have to be possible.
///
/// A local cluster is brought up for that and taken down again.
pub async fn examine_plan(plan: &Plan, faults: BTreeSet<FaultKind>) -> Report {
    let names: Vec<String> =
        plan.system.def.install.binaries.iter().filter(|name| *name != OWN_BINARY).cloned().collect();
    let (nodes, allowed) = match &plan.cluster.kind {
        Cluster::Local(count) => (ask::local(count.count(), &names).await, true),
        Cluster::Ssh(cluster) => {
            (ask::hosts(SshOptions::new(cluster.clone()), &names).await, cluster.disposable)
        }
    };
    let supply = supply(plan, &names, &nodes).await;
    let purpose = Purpose { faults, allowed, supply };
    report(Some(plan.name.clone()), &purpose, nodes)
}

/// Asks hosts for whatever a test might want of them.
pub async fn examine_hosts(options: SshOptions) -> Report {
    let allowed = options.cluster.disposable;
    let nodes = ask::hosts(options, &[]).await;
    let purpose = Purpose { faults: FaultKind::ALL.into_iter().collect(), allowed, supply: Supply::NotAsked };
    report(None, &purpose, nodes)
}

/// Where the programs of the system come from, by the rule that a run has.
async fn supply(plan: &Plan, names: &[String], nodes: &[Asked]) -> Supply {
    if names.is_empty() {
        return Supply::None;
    }
    let any_will_do = plan.system.version.is_none() && plan.system.package.is_none();
    let has_all = |node: &Asked| {
        node.answer.as_ref().is_ok_and(|answer| {
            names.iter().all(|name| answer.facts.tools.get(name).is_some_and(Option::is_some))
        })
    };
    let remote = matches!(plan.cluster.kind, Cluster::Ssh(_));
    if remote && any_will_do && nodes.iter().all(has_all) {
        return Supply::OnNodes;
    }
    match provision::here(plan).await {
        Ok(installed) if remote => Supply::Brought(installed.version),
        Ok(installed) => Supply::Here(installed.version),
        Err(why) => Supply::Missing(why),
    }
}

fn report(test: Option<String>, purpose: &Purpose, asked: Vec<Asked>) -> Report {
    let checks: Vec<Vec<Check>> = asked.iter().map(|node| judge::judge(purpose, node, &asked)).collect();
    let can_run = !checks.is_empty()
        && checks.iter().flatten().all(|check| matches!(check.state, State::Fine | State::Note));
    let nodes = asked.into_iter().zip(checks).map(|(node, checks)| NodeReport {
        name: node.name.to_string(),
        address: node.address,
        checks,
        facts: node.answer.ok().map(|answer| answer.facts),
    });
    Report { test, can_run, nodes: nodes.collect() }
}
