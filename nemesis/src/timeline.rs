//! A plan of faults: what happens when, everything random already decided.
//!
//! Only roles (`leader`, `followers`) are open: who has them is known when the fault starts, see [`crate::resolve`].

use serde::{Deserialize, Serialize};

/// Every fault of a run, in the order of their starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// The faults, sorted by start.
    pub faults: Vec<PlannedFault>,
}

/// One fault with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Its kind and a number, unique in the run: `partition-1`.
    pub id: String,
    /// Where a picture draws it: faults in one lane are of one kind and never overlap. Lanes count from 0.
    pub lane: usize,
    /// Its start, in nanoseconds since the start of the load.
    pub at_ns: u64,
    /// How long it lasts, in nanoseconds.
    pub for_ns: u64,
    /// What it is.
    pub fault: Planned,
}

impl PlannedFault {
    /// When it ends, in nanoseconds since the start of the load.
    pub fn end_ns(&self) -> u64 {
        self.at_ns.saturating_add(self.for_ns)
    }

    /// What it does, in one line: see [`Planned::describe`].
    pub fn describe(&self) -> String {
        self.fault.describe()
    }
}

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Links are cut.
    Partition,
    /// Processes are killed.
    Kill,
    /// Processes are stopped.
    Pause,
}

impl FaultKind {
    /// Every kind, in the order of the catalogue.
    pub const ALL: [Self; 3] = [Self::Partition, Self::Kill, Self::Pause];

    /// Its name in test files, identifiers and histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Kill => "kill",
            Self::Pause => "pause",
        }
    }
}

/// A fault whose random parts are decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Planned {
    /// Links are cut.
    Partition(Partition),
    /// Processes are killed.
    Kill(Victims),
    /// Processes are stopped.
    Pause(Victims),
}

/// A partition: a shape with its nodes in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Partition {
    /// Two sides that do not see each other.
    Halves {
        /// The sides.
        sides: [Vec<String>; 2],
    },
    /// One node sees nobody.
    One {
        /// That node.
        node: String,
        /// Everybody else.
        rest: Vec<String>,
    },
    /// Every node sees a majority, no two the same.
    MajoritiesRing {
        /// The nodes in ring order.
        ring: Vec<String>,
    },
    /// Two sides joined by one node.
    Bridge {
        /// The sides.
        sides: [Vec<String>; 2],
        /// The node that sees everybody.
        bridge: String,
    },
    /// The leader sees nobody.
    IsolateLeader,
    /// One node cannot send, or cannot receive.
    OneWay {
        /// That node.
        node: String,
        /// Which of the two.
        direction: Direction,
        /// Everybody else.
        rest: Vec<String>,
    },
    /// Groups that do not see each other.
    Groups {
        /// The groups.
        groups: Vec<Vec<String>>,
    },
    /// What some send to others is lost.
    Cut {
        /// The senders.
        from: Vec<String>,
        /// The receivers.
        to: Vec<String>,
    },
}

/// The direction in which a node is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Nobody receives what the node sends.
    CannotSend,
    /// The node receives nothing.
    CannotReceive,
}

/// Whom a fault of processes hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Victims {
    /// These nodes, in the cluster's order.
    Nodes(Vec<String>),
    /// Whoever leads then.
    Leader,
    /// Everybody but whoever leads then.
    Followers,
}

impl Planned {
    /// Its kind.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Partition(_) => FaultKind::Partition,
            Self::Kill(_) => FaultKind::Kill,
            Self::Pause(_) => FaultKind::Pause,
        }
    }

    /// What it does, in one line without a full stop: `isolate n2 from n1, n3, n4, n5`, `kill the leader`.
    pub fn describe(&self) -> String {
        match self {
            Self::Partition(partition) => partition.describe(),
            Self::Kill(victims) => format!("kill {}", victims.describe()),
            Self::Pause(victims) => format!("pause {}", victims.describe()),
        }
    }
}

impl Partition {
    /// What it does, in one line without a full stop.
    pub fn describe(&self) -> String {
        match self {
            Self::Halves { sides: [left, right] } => format!("split {} from {}", list(left), list(right)),
            Self::One { node, rest } => format!("isolate {node} from {}", list(rest)),
            Self::MajoritiesRing { ring } => {
                format!("majorities ring of {}: each sees a majority, no two the same", list(ring))
            }
            Self::Bridge { sides: [left, right], bridge } => {
                format!("split {} from {}, joined by {bridge} alone", list(left), list(right))
            }
            Self::IsolateLeader => "isolate the leader from everybody".to_owned(),
            Self::OneWay { node, direction: Direction::CannotSend, rest } => {
                format!("one way: drop what {node} sends to {}", list(rest))
            }
            Self::OneWay { node, direction: Direction::CannotReceive, rest } => {
                format!("one way: drop what {node} receives from {}", list(rest))
            }
            Self::Groups { groups } => {
                let groups: Vec<String> = groups.iter().map(|group| list(group)).collect();
                format!("split {}", groups.join(" from "))
            }
            Self::Cut { from, to } => format!("one way: drop what {} sends to {}", list(from), list(to)),
        }
    }
}

impl Victims {
    fn describe(&self) -> String {
        match self {
            Self::Nodes(names) => list(names),
            Self::Leader => "the leader".to_owned(),
            Self::Followers => "the followers".to_owned(),
        }
    }
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{CATALOGUE, NemesisSpec};

    #[test]
    fn every_kind_of_the_catalogue_is_a_kind() {
        assert_eq!(FaultKind::ALL.map(FaultKind::name), CATALOGUE.map(|(name, _)| name));
    }

    #[test]
    fn a_test_says_which_kinds_can_come_up() {
        let kinds = |json: serde_json::Value| {
            let spec: NemesisSpec = serde_json::from_value(json).unwrap();
            spec.kinds().into_iter().map(FaultKind::name).collect::<Vec<_>>()
        };
        assert_eq!(kinds(serde_json::json!({})), [""; 0]);
        let chosen = serde_json::json!({ "every": "5s", "faults": [{ "pause": {} }, { "partition": {} }] });
        assert_eq!(kinds(chosen), ["partition", "pause"]);
        let fixed = serde_json::json!({ "timeline": [{ "at": "1s", "for": "1s", "fault": { "kill": {} } }] });
        assert_eq!(kinds(fixed), ["kill"]);
    }
}
