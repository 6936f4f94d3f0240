//! What a person writes under `nemesis:` in a test file.
//!
//! Plain data that knows its grammar and nothing else: whether it makes sense on a given cluster is the business of
//! [`crate::schedule`]. The doc comments here are what the JSON Schema and the reference say.

mod one_or_many;
mod target;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use schism_units::Span;
use serde::{Deserialize, Serialize};

use crate::timeline::FaultKind;

pub use one_or_many::OneOrMany;
pub use target::{Target, TargetError};

/// Every kind of fault with one line about it, for people who ask what there is.
pub const CATALOGUE: [(&str, &str); 3] = [
    (
        "partition",
        "cut links between nodes: halves, one node, a ring of majorities, a bridge, the leader, one way",
    ),
    ("kill", "kill the system's process with SIGKILL, start it again at the end"),
    ("pause", "stop the system's process with SIGSTOP, continue it at the end"),
];

/// Which faults to make, and when. Either a random policy (`every` and `faults`) or a fixed `timeline`.
///
/// Every fault is healed at the end of the time limit at the latest, before the final reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NemesisSpec {
    /// Mean time from the start of one fault to the start of the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// How long a fault lasts. Default: half of `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// How many faults of different kinds may be in force at once. Faults of one kind never overlap, and no node is
    /// killed and paused at once. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub overlap: Option<u32>,
    /// How many nodes may be down, that is killed or paused, at once: `minority`, `majority`, `all` or a number. Whoever wants
    /// to see a majority fail has to say so. Default: minority, and 1 where a minority is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"majority")]
    pub max_down: Option<Target>,
    /// Whether to record what each node sends and receives while faults are in force: `nodes/<node>/faults/<fault>.pcap` in the
    /// run directory, at most 64 MiB each, with the first 256 bytes of each packet. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub capture: bool,
    /// Time at the start of the run without a fault. Default: half of `every`, at most 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Span>,
    /// The faults to choose from. All of them, and all their shapes and targets, come up in random order before any
    /// comes up again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub faults: Option<Vec<FaultSpec>>,
    /// Faults at fixed times, instead of `every` and `faults`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub timeline: Option<Vec<TimelineEntry>>,
}

impl NemesisSpec {
    /// The kinds of faults that can come up, whatever the seed.
    pub fn kinds(&self) -> BTreeSet<FaultKind> {
        let chosen = self.faults.iter().flatten();
        let fixed = self.timeline.iter().flatten().map(|entry| &entry.fault);
        chosen.chain(fixed).map(FaultSpec::kind).collect()
    }
}

/// One fault at a fixed time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TimelineEntry {
    /// When it starts, from the start of the load. Must lie before the time limit.
    pub at: Span,
    /// How long it lasts. Whatever is still in force at the time limit is healed then.
    #[serde(rename = "for")]
    pub lasting: Span,
    /// What it is. A single shape or target: a timeline leaves nothing to choose.
    pub fault: FaultSpec,
}

/// A kind of fault with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FaultSpec {
    /// Cut links between nodes.
    Partition(PartitionSpec),
    /// Kill the system's process (`SIGKILL`) with everything it started, and start it again at the end.
    Kill(ProcessSpec),
    /// Stop the system's process (`SIGSTOP`) with everything it started, and continue it at the end.
    Pause(ProcessSpec),
}

impl FaultSpec {
    /// Its kind.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Partition(_) => FaultKind::Partition,
            Self::Kill(_) => FaultKind::Kill,
            Self::Pause(_) => FaultKind::Pause,
        }
    }
}

/// Parameters of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PartitionSpec {
    /// Which links are cut; of a list, one shape at a time. Default: halves.
    #[serde(default = "halves")]
    pub shape: OneOrMany<Shape>,
}

/// Parameters of a fault of processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProcessSpec {
    /// Whom it hits; of a list, one entry at a time (`n1+n2` hits both together). Default: one.
    #[serde(default = "one")]
    pub targets: OneOrMany<Target>,
}

fn halves() -> OneOrMany<Shape> {
    OneOrMany::One(Shape::Halves)
}

fn one() -> OneOrMany<Target> {
    OneOrMany::One(Target::One)
}

/// Which links a partition cuts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shape {
    /// Two random halves that do not see each other; of an odd number, one half is a majority.
    Halves,
    /// One random node sees nobody.
    One,
    /// Every node sees a majority, and no two see the same one. From four nodes up.
    MajoritiesRing,
    /// Two halves joined by a single node that sees everybody. From three nodes up.
    Bridge,
    /// Whoever leads when the fault starts sees nobody. Needs a system that says who leads.
    IsolateLeader,
    /// One random node that cannot send, or cannot receive; both come up.
    OneWay,
    /// Groups of nodes that do not see each other; a node in no group sees everybody.
    Groups(Vec<Vec<String>>),
    /// What some nodes send to others is lost; the way back is open.
    Cut(CutSpec),
}

/// The two ends of a one-way cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CutSpec {
    /// The nodes whose packets are lost.
    pub from: Vec<String>,
    /// The nodes that do not receive them.
    pub to: Vec<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<NemesisSpec, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_a_policy_and_a_timeline() {
        let policy = json!({
            "every": "10s", "duration": "5s", "overlap": 2, "warm-up": "1s",
            "faults": [
                { "partition": { "shape": ["halves", "one-way", { "groups": [["n1"], ["n2", "n3"]] }] } },
                { "kill": { "targets": ["one", 2, "n1", "n1+n2"] } },
                { "pause": {} },
                { "partition": { "shape": "isolate-leader" } },
            ]
        });
        let spec = read(policy.clone()).unwrap();
        let Some([_, FaultSpec::Kill(kill), FaultSpec::Pause(pause), FaultSpec::Partition(last)]) =
            spec.faults.as_deref()
        else {
            panic!("{spec:?}");
        };
        assert_eq!(kill.targets.values()[1], Target::Count(2));
        assert_eq!(kill.targets.path(1), Some("1".to_owned()));
        assert_eq!(pause.targets, OneOrMany::One(Target::One));
        assert_eq!(last.shape, OneOrMany::One(Shape::IsolateLeader));
        assert_eq!(last.shape.path(0), None);

        let mut expected = policy;
        expected["faults"][2] = json!({ "pause": { "targets": "one" } });
        assert_eq!(serde_json::to_value(&spec).unwrap(), expected, "written back as it was read");

        let timeline = json!({ "timeline": [
            { "at": "5s", "for": "10s", "fault": { "partition": { "shape": { "cut": { "from": ["n1"], "to": ["n2"] } } } } },
            { "at": "8s", "for": "3s", "fault": { "kill": { "targets": "n2" } } },
        ] });
        assert_eq!(serde_json::to_value(read(timeline.clone()).unwrap()).unwrap(), timeline);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (value, part) in [
            (json!({ "evry": "10s" }), "evry"),
            (json!({ "every": 10 }), "invalid type"),
            (json!({ "faults": [{ "partition": { "shape": "halfs" } }] }), "halfs"),
            (json!({ "faults": [{ "partition": { "shape": ["one", { "group": [] }] } }] }), "group"),
            (json!({ "faults": [{ "kil": {} }] }), "kil"),
            (json!({ "faults": [{ "kill": { "target": "one" } }] }), "target"),
            (json!({ "faults": [{ "kill": { "targets": true } }] }), "one value or a list"),
            (json!({ "faults": [{ "kill": { "targets": [1.5] } }] }), "a target"),
            (json!({ "timeline": [{ "at": "1s", "fault": { "kill": {} } }] }), "for"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        }
    }

    #[test]
    fn its_schema_has_the_words_people_write() {
        let schema = serde_json::to_string(&schemars::schema_for!(NemesisSpec)).unwrap();
        for word in
            ["warm-up", "majorities-ring", "isolate-leader", "one-way", "followers", "timeline", "\"for\""]
        {
            assert!(schema.contains(word), "{word}: {schema}");
        }
        assert!(schema.contains("\"additionalProperties\":false"));
    }
}
