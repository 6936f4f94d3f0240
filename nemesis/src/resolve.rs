//! From a planned fault to what each node has to do, when the fault starts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::node::{NodeFault, Peer};
use crate::shapes::{self, Cut};
use crate::timeline::{Partition, Planned, Victims};

/// Who has which role at a moment, as far as anybody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// The node that leads.
    pub leader: Option<String>,
}

/// A fault spelled out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// What each node has to do. Nodes with nothing to do are missing.
    pub nodes: BTreeMap<String, Vec<NodeFault>>,
    /// The directed cuts of a partition, each carried out by its receiver.
    pub cuts: Vec<Cut>,
    /// The nodes with something to do, in the cluster's order.
    pub targets: Vec<String>,
}

/// Why a fault cannot be made now. The run goes on, but this fault did not bite.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nobody leads.
    #[error("{fault}: no node said that it leads when the fault was due")]
    NoLeader {
        /// The fault, described.
        fault: String,
    },
    /// The plan or the system names a node that the cluster does not have.
    #[error("{fault}: the cluster has no node `{node}`, only {known}")]
    UnknownNode {
        /// The fault, described.
        fault: String,
        /// The name.
        node: String,
        /// The cluster's nodes.
        known: String,
    },
}

/// What each node of `cluster` has to do for `planned`, given who has which role now. `process` is the supervised
/// process that `kill` and `pause` hit, by the name it has on every node.
///
/// # Errors
/// A role is needed that nobody is known to have, or a name is not in the cluster.
pub fn resolve(
    planned: &Planned,
    cluster: &[Peer],
    roles: &Roles,
    process: &str,
) -> Result<Resolved, ResolveError> {
    match planned {
        Planned::Partition(Partition::IsolateLeader) => {
            let node = leader(planned, cluster, roles)?;
            let rest = others(cluster, &node);
            let partition = Partition::One { node, rest };
            cut(planned, shapes::cuts(&partition).unwrap_or_default(), cluster)
        }
        Planned::Partition(partition) => cut(planned, shapes::cuts(partition).unwrap_or_default(), cluster),
        Planned::Kill(victims) => {
            let fault = NodeFault::Kill { process: process.to_owned() };
            hit(planned, victims, &fault, cluster, roles)
        }
        Planned::Pause(victims) => {
            let fault = NodeFault::Pause { process: process.to_owned() };
            hit(planned, victims, &fault, cluster, roles)
        }
    }
}

fn leader(planned: &Planned, cluster: &[Peer], roles: &Roles) -> Result<String, ResolveError> {
    let Some(leader) = &roles.leader else {
        return Err(ResolveError::NoLeader { fault: planned.describe() });
    };
    peer(planned, cluster, leader).map(|peer| peer.node.clone())
}

fn others(cluster: &[Peer], node: &str) -> Vec<String> {
    cluster.iter().map(|peer| peer.node.clone()).filter(|name| name != node).collect()
}

fn peer<'a>(planned: &Planned, cluster: &'a [Peer], node: &str) -> Result<&'a Peer, ResolveError> {
    cluster.iter().find(|peer| peer.node == node).ok_or_else(|| ResolveError::UnknownNode {
        fault: planned.describe(),
        node: node.to_owned(),
        known: cluster.iter().map(|peer| peer.node.as_str()).collect::<Vec<_>>().join(", "),
    })
}

fn cut(planned: &Planned, cuts: Vec<Cut>, cluster: &[Peer]) -> Result<Resolved, ResolveError> {
    let mut dropped: BTreeMap<String, Vec<Peer>> = BTreeMap::new();
    for cut in &cuts {
        let from = peer(planned, cluster, &cut.from)?;
        let to = peer(planned, cluster, &cut.to)?;
        dropped.entry(to.node.clone()).or_default().push(from.clone());
    }
    let nodes = dropped
        .into_iter()
        .map(|(to, peers)| (to, vec![NodeFault::DropFrom { peers, exempt_ports: Vec::new() }]))
        .collect();
    Ok(Resolved::new(nodes, cuts, cluster))
}

fn hit(
    planned: &Planned,
    victims: &Victims,
    fault: &NodeFault,
    cluster: &[Peer],
    roles: &Roles,
) -> Result<Resolved, ResolveError> {
    let names = match victims {
        Victims::Nodes(names) => names.clone(),
        Victims::Leader => vec![leader(planned, cluster, roles)?],
        Victims::Followers => others(cluster, &leader(planned, cluster, roles)?),
    };
    let mut nodes = BTreeMap::new();
    for name in &names {
        nodes.insert(peer(planned, cluster, name)?.node.clone(), vec![fault.clone()]);
    }
    Ok(Resolved::new(nodes, Vec::new(), cluster))
}

impl Resolved {
    fn new(nodes: BTreeMap<String, Vec<NodeFault>>, cuts: Vec<Cut>, cluster: &[Peer]) -> Self {
        let names = cluster.iter().map(|peer| peer.node.clone());
        let targets = names.filter(|name| nodes.contains_key(name)).collect();
        Self { nodes, cuts, targets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Direction;

    fn cluster() -> Vec<Peer> {
        let address = |number: u8| std::net::IpAddr::from([10, 0, 0, number]);
        (1..=3).map(|number| Peer { node: format!("n{number}"), address: address(number) }).collect()
    }

    fn led_by(leader: &str) -> Roles {
        Roles { leader: Some(leader.to_owned()) }
    }

    fn drops(resolved: &Resolved) -> Vec<String> {
        let line = |(node, faults): (&String, &Vec<NodeFault>)| match faults.as_slice() {
            [NodeFault::DropFrom { peers, .. }] => {
                let from: Vec<&str> = peers.iter().map(|peer| peer.node.as_str()).collect();
                format!("{node} drops {}", from.join(" "))
            }
            other => format!("{node} {other:?}"),
        };
        resolved.nodes.iter().map(line).collect()
    }

    #[test]
    fn the_receiver_drops() {
        let rest = vec!["n1".to_owned(), "n3".to_owned()];
        let mute =
            Partition::OneWay { node: "n2".into(), direction: Direction::CannotSend, rest: rest.clone() };
        let resolved = resolve(&Planned::Partition(mute), &cluster(), &Roles::default(), "etcd").unwrap();
        assert_eq!(drops(&resolved), ["n1 drops n2", "n3 drops n2"]);
        assert_eq!(resolved.targets, ["n1", "n3"]);
        assert!(resolved.cuts.iter().all(|cut| cut.from == "n2"));

        let deaf = Partition::OneWay { node: "n2".into(), direction: Direction::CannotReceive, rest };
        let resolved = resolve(&Planned::Partition(deaf), &cluster(), &Roles::default(), "etcd").unwrap();
        assert_eq!(drops(&resolved), ["n2 drops n1 n3"]);
    }

    #[test]
    fn roles_are_whoever_has_them_now() {
        let isolate = Planned::Partition(Partition::IsolateLeader);
        let resolved = resolve(&isolate, &cluster(), &led_by("n3"), "etcd").unwrap();
        assert_eq!(drops(&resolved), ["n1 drops n3", "n2 drops n3", "n3 drops n1 n2"]);

        let kill = NodeFault::Kill { process: "etcd".into() };
        let resolved = resolve(&Planned::Kill(Victims::Leader), &cluster(), &led_by("n3"), "etcd").unwrap();
        assert_eq!(resolved.nodes, BTreeMap::from([("n3".to_owned(), vec![kill])]));

        let resolved =
            resolve(&Planned::Pause(Victims::Followers), &cluster(), &led_by("n3"), "etcd").unwrap();
        assert_eq!(resolved.targets, ["n1", "n2"]);
    }

    #[test]
    fn without_a_leader_it_says_so() {
        for fault in [
            Planned::Partition(Partition::IsolateLeader),
            Planned::Kill(Victims::Leader),
            Planned::Pause(Victims::Followers),
        ] {
            let error = resolve(&fault, &cluster(), &Roles::default(), "etcd").unwrap_err();
            assert!(matches!(error, ResolveError::NoLeader { .. }), "{error}");
            let error = resolve(&fault, &cluster(), &led_by("n9"), "etcd").unwrap_err();
            assert!(error.to_string().contains("no node `n9`"), "{error}");
        }
    }
}
