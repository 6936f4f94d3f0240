//! A real etcd cluster from the command line, and its twin one setting away.

use std::fs;

use crate::support::{Place, have, repository};

/// Shorter than a person would run it; faults come as close together as etcd elects leaders.
fn run(example: &str, code: i32) -> Option<(Place, serde_json::Value)> {
    if !have("etcd") {
        return None;
    }
    let place = Place::new();
    let example = repository("examples").join(example);
    place
        .schism(&[
            "run",
            "--quiet",
            example.to_str().unwrap(),
            "--set",
            "time-limit=20s",
            "--set",
            "workload.register.rate=500/s",
            "--set",
            "nemesis.every=5s",
            // A seed whose plan cuts a node off for its readers to see. They have to be back soon from the writes that it never
            // answers: with the default of 5s a worker gets to about one read.
            "--seed",
            "5",
            "--set",
            "workload.register.deadline=300ms",
        ])
        .expect(code);
    let results = place.results();
    Some((place, results))
}

#[test]
fn linearizable_reads_pass() {
    let Some((place, results)) = run("etcd.yaml", 0) else { return };
    assert_eq!(results["verdict"], "pass", "{results:#}");
    let version =
        results["run"]["versions"].as_array().unwrap().iter().find(|entry| entry["what"] == "etcd").unwrap();
    assert!(version["version"].as_str().unwrap().starts_with("3."), "{version}");
    // The leader was watched, with its term.
    let log = fs::read_to_string(place.latest().join("schism.log")).unwrap();
    let election = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let election = election.into_iter().find(|line| line["event"] == "election").unwrap();
    assert!(
        election["leader"].is_string() && election["term"].is_u64() && election["node"].is_string(),
        "{election}"
    );
    assert!(place.latest().join("nodes/n1/etcd.log").exists());
}

#[test]
fn serializable_reads_are_stale() {
    let Some((_place, results)) = run("etcd-stale.yaml", 1) else { return };
    let summary = results["checks"][0]["violations"][0]["summary"].as_str().unwrap();
    assert!(summary.contains("read of key"), "{summary}");
}
