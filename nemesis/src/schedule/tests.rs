//! What plans promise.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::timeline::Victims;

fn nodes(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("n{number}")).collect()
}

fn spec(value: serde_json::Value) -> NemesisSpec {
    serde_json::from_value(value).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The errors as `path: message`.
fn errors(value: serde_json::Value, count: usize, roles: &[&str], limit: u64) -> Vec<String> {
    match plan(&spec(value), &nodes(count), roles, 1, seconds(limit)) {
        Ok(timeline) => panic!("planned {timeline:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn everything() -> serde_json::Value {
    json!({
        "every": "4s", "duration": "3s", "overlap": 2, "max-down": "all",
        "faults": [
            { "partition": { "shape": ["halves", "one", "majorities-ring", "bridge", "isolate-leader", "one-way",
                { "groups": [["n1"], ["n2", "n3"]] }, { "cut": { "from": ["n1"], "to": ["n2"] } }] } },
            { "kill": { "targets": ["one", "minority", "majority", "all", "leader", "followers", 2, "n1", "n1+n2"] } },
            { "pause": { "targets": ["one", "leader"] } },
        ]
    })
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let text = |seed| {
        let timeline = plan(&spec(everything()), &nodes(5), &["leader"], seed, seconds(300)).unwrap();
        serde_json::to_string(&timeline).unwrap()
    };
    assert_eq!(text(42), text(42));
    assert_ne!(text(42), text(43));
    assert!(text(42).starts_with(r#"{"faults":[{"id":""#), "{}", text(42));
    assert!(text(42).contains(r#""at_ns":"#), "{}", text(42));
    let back: Timeline = serde_json::from_str(&text(42)).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text(42));
}

#[test]
fn a_short_run_covers_every_choice_before_any_repeats() {
    let value = json!({ "every": "4s", "faults": [
        { "partition": { "shape": ["halves", "majorities-ring", "isolate-leader"] } },
        { "kill": { "targets": ["one", "minority", "leader"] } },
    ] });
    for seed in 0..50 {
        let timeline = plan(&spec(value.clone()), &nodes(5), &["leader"], seed, seconds(26)).unwrap();
        assert_eq!(timeline.faults.len(), 6, "{timeline:?}");
        let what = |fault: &PlannedFault| match &fault.fault {
            Planned::Partition(partition) => {
                partition.describe().split(' ').next().map(str::to_owned).unwrap_or_default()
            }
            Planned::Kill(Victims::Nodes(nodes)) => format!("kill {}", nodes.len()),
            other => other.describe(),
        };
        let seen: BTreeSet<String> = timeline.faults.iter().map(what).collect();
        let expected = ["split", "majorities", "isolate", "kill 1", "kill 2", "kill the leader"];
        assert_eq!(seen, expected.map(str::to_owned).into(), "seed {seed}");
        // Each kind once in any two.
        for pair in timeline.faults.chunks(2) {
            assert_ne!(pair[0].fault.kind(), pair[1].fault.kind(), "seed {seed}");
        }
    }
}

#[test]
fn one_way_goes_both_ways_and_nodes_differ_between_seeds() {
    let value = json!({ "every": "2s", "faults": [{ "partition": { "shape": "one-way" } }] });
    let mut firsts = BTreeSet::new();
    for seed in 0..40 {
        let timeline = plan(&spec(value.clone()), &nodes(3), &[], seed, seconds(5)).unwrap();
        let described: Vec<String> = timeline.faults.iter().map(|fault| fault.fault.describe()).collect();
        assert_eq!(described.len(), 2);
        assert!(described.iter().any(|text| text.contains("sends")), "{described:?}");
        assert!(described.iter().any(|text| text.contains("receives")), "{described:?}");
        firsts.insert(described[0].clone());
    }
    assert_eq!(firsts.len(), 6, "{firsts:?}");
}

/// Whom a fault of processes may hit: everybody for a role.
fn victims(fault: &Planned) -> Option<BTreeSet<String>> {
    match fault {
        Planned::Partition(_) => None,
        Planned::Kill(Victims::Nodes(names)) | Planned::Pause(Victims::Nodes(names)) => {
            Some(names.iter().cloned().collect())
        }
        Planned::Kill(_) | Planned::Pause(_) => Some(nodes(5).into_iter().collect()),
    }
}

proptest! {
    #[test]
    fn faults_stay_in_time_and_apart(
        seed in any::<u64>(), every in 1_u64..20, duration in 1_u64..30, overlap in 1_u64..4, limit in 20_u64..200,
    ) {
        let mut value = everything();
        value["every"] = json!(format!("{every}s"));
        value["duration"] = json!(format!("{duration}s"));
        value["overlap"] = json!(overlap);
        let timeline = match plan(&spec(value), &nodes(5), &["leader"], seed, seconds(limit)) {
            Ok(timeline) => timeline,
            Err(errors) => {
                let warm_up = (every * 1000 / 2).min(5000);
                let too_long = duration > every * overlap.min(3) || warm_up + duration * 1000 > limit * 1000;
                prop_assert!(too_long, "{errors:?}");
                return Ok(());
            }
        };
        prop_assert!(!timeline.faults.is_empty());
        let mut ids = BTreeSet::new();
        let mut lanes: BTreeMap<usize, (FaultKind, u64)> = BTreeMap::new();
        let mut last_start = 0;
        for (position, fault) in timeline.faults.iter().enumerate() {
            prop_assert!(fault.at_ns >= last_start);
            last_start = fault.at_ns;
            prop_assert!(fault.end_ns() <= seconds(limit).as_nanos() as u64);
            prop_assert!(fault.at_ns >= (every * 500_000_000).min(5_000_000_000));
            prop_assert!(ids.insert(fault.id.clone()));
            let kind = fault.fault.kind();
            let (lane_kind, free_at) = lanes.entry(fault.lane).or_insert((kind, 0));
            prop_assert!(*lane_kind == kind && *free_at <= fault.at_ns);
            *free_at = fault.end_ns();
            let others: Vec<&PlannedFault> =
                timeline.faults[..position].iter().filter(|other| other.end_ns() > fault.at_ns).collect();
            prop_assert!(others.len() < overlap as usize);
            for other in others {
                prop_assert_ne!(other.fault.kind(), kind);
                if let (Some(mine), Some(theirs)) = (victims(&fault.fault), victims(&other.fault)) {
                    prop_assert!(mine.is_disjoint(&theirs), "{:?} {:?}", fault, other);
                }
            }
        }
    }

    #[test]
    fn no_number_is_too_strange(
        seed in any::<u64>(), times in prop::array::uniform3(prop_oneof![0_u64..3, 1_000..2_000_u64, u64::MAX - 2..=u64::MAX]),
        limit in prop_oneof![0_u64..3, 5_000..9_000_u64, u64::MAX - 2..=u64::MAX], overlap in any::<u32>(), target in any::<u64>(),
    ) {
        let [every, duration, warm_up] = times.map(|nanos| schism_units::Span(Duration::from_nanos(nanos)).to_string());
        let fault = json!({ "kill": { "targets": target } });
        let policy = json!({ "every": every, "duration": duration, "warm-up": warm_up, "overlap": overlap,
            "faults": [{ "kill": {} }, fault, { "partition": {} }] });
        let timeline = json!({ "timeline": [
            { "at": every, "for": duration, "fault": { "kill": {} } },
            { "at": warm_up, "for": every, "fault": fault },
        ] });
        for value in [policy, timeline] {
            if let Ok(timeline) = plan(&spec(value), &nodes(3), &[], seed, Duration::from_nanos(limit)) {
                prop_assert!(timeline.faults.iter().all(|fault| fault.end_ns() <= limit));
            }
        }
    }

    #[test]
    fn overlap_is_used_where_it_is_allowed(seed in any::<u64>()) {
        let value = json!({ "every": "4s", "duration": "6s", "overlap": 2, "faults": [
            { "partition": { "shape": "halves" } }, { "kill": { "targets": "one" } },
        ] });
        let timeline = plan(&spec(value), &nodes(5), &[], seed, seconds(60)).unwrap();
        let overlapping = timeline.faults.windows(2).filter(|pair| pair[1].at_ns < pair[0].end_ns()).count();
        prop_assert!(overlapping * 2 > timeline.faults.len(), "{timeline:?}");
    }

    #[test]
    fn the_mean_distance_is_every(seed in any::<u64>()) {
        let value = json!({ "every": "10s", "faults": [{ "kill": {} }] });
        let timeline = plan(&spec(value), &nodes(5), &[], seed, seconds(1000)).unwrap();
        prop_assert_eq!(timeline.faults.len(), 100);
        let starts: Vec<u64> = timeline.faults.iter().map(|fault| fault.at_ns).collect();
        let mean = (starts[starts.len() - 1] - starts[0]) / (starts.len() as u64 - 1);
        prop_assert!((9_900_000_000..=10_100_000_000).contains(&mean), "{mean}");
        let gaps: BTreeSet<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        prop_assert!(gaps.len() > 50, "starts are not jittered");
    }
}

#[test]
fn names_every_mistake_with_its_place() {
    let value = json!({ "every": "10s", "faults": [
        { "kill": { "targets": ["one", 6] } },
        { "kill": { "targets": "n9" } },
        { "pause": { "targets": ["leadr", 0, "n1+n1", "leader+n1"] } },
        { "partition": { "shape": ["isolate-leader", { "groups": [["n1"], ["n1", "m2"], []] },
            { "cut": { "from": ["n1"], "to": ["n1"] } }] } },
        { "partition": { "shape": [] } },
    ] });
    let found = errors(value, 5, &[], 60);
    let expected = [
        "nemesis.faults.0.kill.targets.1: cannot kill 6 nodes: the cluster has 5",
        "nemesis.faults.1.kill.targets: there is no node `n9`. Did you mean `n1`?",
        "nemesis.faults.2.pause.targets.0: there is no node `leadr`. Did you mean `leader`?",
        "nemesis.faults.2.pause.targets.1: `pause` of 0 nodes hits nobody",
        "nemesis.faults.2.pause.targets.2: `n1` is named twice",
        "nemesis.faults.2.pause.targets.3: `leader` stands for nodes",
        "nemesis.faults.3.partition.shape.0: `isolate-leader` needs a system that says who leads",
        "nemesis.faults.3.partition.shape.1.groups.1.1: there is no node `m2`. Did you mean `n2`?",
        "nemesis.faults.3.partition.shape.1.groups.1.0: `n1` is in two groups",
        "nemesis.faults.3.partition.shape.1.groups.2: the group is empty",
        "nemesis.faults.3.partition.shape.2.cut: `n1` is in `from` and in `to`",
        "nemesis.faults.4.partition.shape: the list is empty",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n  does not start with\n{expected}");
    }
}

#[test]
fn refuses_shapes_and_targets_that_the_cluster_is_too_small_for() {
    let shape = |shape: &str| json!({ "every": "10s", "faults": [{ "partition": { "shape": shape } }] });
    let kill = |target: &str| json!({ "every": "10s", "faults": [{ "kill": { "targets": target } }] });
    for (value, count, part) in [
        (shape("majorities-ring"), 3, "`majorities-ring` needs at least 4 nodes and the cluster has 3"),
        (shape("bridge"), 2, "`bridge` needs at least 3 nodes"),
        (shape("halves"), 1, "`halves` needs at least 2 nodes"),
        (kill("minority"), 2, "2 nodes have no minority"),
        (kill("minority"), 1, "one node has no minority"),
        (kill("followers"), 1, "one node has no followers"),
    ] {
        let found = errors(value, count, &["leader"], 60);
        assert!(found.len() == 1 && found[0].contains(part), "{found:?}");
    }
}

#[test]
fn refuses_a_policy_without_sense() {
    let kill = json!([{ "kill": {} }]);
    let entry = json!({ "at": "1s", "for": "1s", "fault": { "kill": {} } });
    for (value, part) in [
        (json!({}), "nemesis: no faults"),
        (json!({ "every": "1s" }), "nemesis: no faults"),
        (json!({ "faults": kill }), "nemesis: `faults` needs `every`"),
        (json!({ "every": "1s", "faults": [] }), "nemesis.faults: the list is empty"),
        (json!({ "every": "0s", "faults": kill }), "nemesis.every: is zero"),
        (json!({ "every": "1s", "duration": "0s", "faults": kill }), "nemesis.duration: is zero"),
        (json!({ "every": "1s", "overlap": 0, "faults": kill }), "nemesis.overlap: is 0"),
        (
            json!({ "every": "5s", "duration": "6s", "faults": kill }),
            "nemesis.duration: faults of 6s every 5s",
        ),
        (json!({ "every": "50s", "faults": kill }), "nemesis: no fault fits into the time limit of 20s"),
        (json!({ "every": "1us", "faults": kill }), "nemesis.every: a fault every 1us in 20s are more than"),
        (
            json!({ "every": "1s", "faults": kill, "timeline": [entry] }),
            "nemesis.timeline: a nemesis is either",
        ),
        (json!({ "overlap": 2, "timeline": [entry] }), "nemesis.overlap: goes with `faults`"),
        (json!({ "timeline": [] }), "nemesis.timeline: the timeline is empty"),
    ] {
        let found = errors(value, 5, &[], 20);
        assert!(found.len() == 1 && found[0].starts_with(part), "{found:?}\n  should start with\n{part}");
    }
    let none = plan(&spec(json!({ "every": "1s", "faults": kill })), &[], &[], 1, seconds(20));
    assert!(none.unwrap_err()[0].message.contains("no nodes"));
}

#[test]
fn whoever_wants_a_majority_to_fail_says_so() {
    let kill = |target: serde_json::Value, more: serde_json::Value| {
        let mut value = json!({ "every": "10s", "faults": [{ "kill": { "targets": target } }] });
        if !more.is_null() {
            value["max-down"] = more;
        }
        value
    };
    let nothing = json!(null);
    for (target, count, said) in [
        (json!("majority"), 5, "takes 3 of 5 nodes down, and no more than 2 may be at once"),
        (json!("majority"), 5, "`max-down: majority`"),
        (json!("all"), 4, "takes 4 of 4 nodes down, and no more than 1 may be at once"),
        (json!("all"), 4, "`max-down: all`"),
        (json!("followers"), 5, "`max-down: 4`"),
        (json!("n1+n2"), 3, "`max-down: majority`"),
        (json!(2), 2, "no more than 1 may be at once"),
    ] {
        let found = errors(kill(target, nothing.clone()), count, &["leader"], 60);
        assert!(
            found.len() == 1 && found[0].starts_with("nemesis.faults.0.kill.targets: takes "),
            "{found:?}"
        );
        assert!(found[0].contains(said), "{found:?} does not say {said}");
    }
    for (target, max, count) in [
        (json!("minority"), nothing.clone(), 5),
        (json!("one"), nothing.clone(), 1),
        (json!("one"), nothing.clone(), 2),
        (json!("leader"), nothing, 3),
        (json!("majority"), json!("majority"), 5),
        (json!("all"), json!("all"), 5),
        (json!("followers"), json!(4), 5),
    ] {
        plan(&spec(kill(target, max)), &nodes(count), &["leader"], 1, seconds(60)).unwrap();
    }
    let lower = errors(kill(json!("minority"), json!("one")), 5, &[], 60);
    assert!(lower[0].contains("no more than 1 may be at once"), "{lower:?}");
    for strange in [json!("leader"), json!("n1"), json!(0)] {
        let found = errors(kill(json!("one"), strange), 5, &["leader"], 60);
        assert!(found[0].starts_with("nemesis.max-down: is no number of nodes"), "{found:?}");
    }
    // What overlaps counts together.
    let entry = |at: &str, kind: &str, targets: &str| json!({ "at": at, "for": "5s", "fault": { kind: { "targets": targets } } });
    let apart = json!({ "timeline": [entry("1s", "kill", "n1"), entry("6s", "pause", "n2+n3"), entry("12s", "kill", "n4")] });
    plan(&spec(apart), &nodes(5), &[], 1, seconds(20)).unwrap();
    let together = json!({ "timeline": [entry("1s", "kill", "n1"), entry("3s", "pause", "n2+n3")] });
    let found = errors(together, 5, &[], 20);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("nemesis.timeline.1.fault: with what is down then, takes 3 of 5 nodes down, and no more than 2 may"),
        "{found:?}"
    );
}

/// How many nodes a fault takes down on a cluster of five.
fn taken_down(fault: &Planned) -> usize {
    match fault {
        Planned::Partition(_) => 0,
        Planned::Kill(Victims::Leader) | Planned::Pause(Victims::Leader) => 1,
        Planned::Kill(Victims::Followers) | Planned::Pause(Victims::Followers) => 4,
        Planned::Kill(Victims::Nodes(nodes)) | Planned::Pause(Victims::Nodes(nodes)) => nodes.len(),
    }
}

proptest! {
    #[test]
    fn no_more_are_down_at_once_than_may_be(seed in any::<u64>(), most in 2_usize..4, duration in 4_u64..9) {
        let value = json!({ "every": "4s", "duration": format!("{duration}s"), "overlap": 3, "max-down": most, "faults": [
            { "kill": { "targets": ["one", "minority", "n1+n2", "leader"] } },
            { "pause": { "targets": ["one", "minority", "n4"] } },
            { "partition": {} },
        ] });
        let timeline = plan(&spec(value), &nodes(5), &["leader"], seed, seconds(300)).unwrap();
        prop_assert!(timeline.faults.len() > 20);
        let mut reached = 0;
        for fault in &timeline.faults {
            let in_force = timeline.faults.iter().filter(|other| other.at_ns <= fault.at_ns && other.end_ns() > fault.at_ns);
            let down: usize = in_force.map(|other| taken_down(&other.fault)).sum();
            prop_assert!(down <= most, "{down} are down when {} starts", fault.id);
            reached = reached.max(down);
        }
        prop_assert_eq!(reached, most, "what is allowed comes up");
    }
}

#[test]
fn a_timeline_keeps_its_times() {
    let value = json!({ "timeline": [
        { "at": "8s", "for": "30s", "fault": { "kill": { "targets": "n2" } } },
        { "at": "5s", "for": "10s", "fault": { "partition": { "shape": "isolate-leader" } } },
        { "at": "6s", "for": "4s", "fault": { "partition": { "shape": { "cut": { "from": ["n1"], "to": ["n2"] } } } } },
        { "at": "9s", "for": "1s", "fault": { "pause": { "targets": 4 } } },
        { "at": "16s", "for": "1s", "fault": { "partition": {} } },
    ], "max-down": "all" });
    let timeline = plan(&spec(value), &nodes(5), &["leader"], 1, seconds(20)).unwrap();
    let line = |fault: &PlannedFault| {
        format!(
            "{} lane {} {}+{} {}",
            fault.id,
            fault.lane,
            fault.at_ns / 1_000_000_000,
            fault.for_ns / 1_000_000_000,
            fault.fault.describe()
        )
    };
    let lines: Vec<String> = timeline.faults.iter().map(line).collect();
    assert_eq!(
        lines[..4],
        [
            "partition-1 lane 0 5+10 isolate the leader from everybody",
            "partition-2 lane 1 6+4 one way: drop what n1 sends to n2",
            "kill-1 lane 2 8+12 kill n2",
            "pause-1 lane 3 9+1 pause n1, n3, n4, n5",
        ]
    );
    assert!(lines[4].starts_with("partition-3 lane 0 16+1 split "), "{lines:?}");
}

#[test]
fn refuses_a_timeline_without_sense() {
    let value = json!({ "timeline": [
        { "at": "10s", "for": "5s", "fault": { "pause": { "targets": "n1" } } },
        { "at": "20s", "for": "5s", "fault": { "kill": {} } },
        { "at": "1s", "for": "0s", "fault": { "kill": { "targets": "n7" } } },
        { "at": "2s", "for": "9s", "fault": { "kill": { "targets": "n1+n2" } } },
        { "at": "3s", "for": "1s", "fault": { "pause": { "targets": ["n4", "n5"] } } },
        { "at": "4s", "for": "1s", "fault": { "pause": { "targets": 4 } } },
    ], "max-down": "all" });
    let found = errors(value, 5, &[], 20);
    let expected = [
        "nemesis.timeline.0.fault: hits a process that timeline entry 3 (kill n1, n2) has not given back yet",
        "nemesis.timeline.1.at: starts at 20s, and the run ends at 20s",
        "nemesis.timeline.2.for: is zero",
        "nemesis.timeline.2.fault.kill.targets: there is no node `n7`",
        "nemesis.timeline.4.fault.pause.targets: a timeline leaves nothing to choose",
        "nemesis.timeline.5.fault: hits a process that timeline entry 3",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n  does not start with\n{expected}");
    }
}
