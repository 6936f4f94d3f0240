//! The built-in demo system from the command line: the correct mode passes, each wrong one is exposed.

use std::fs;

use crate::support::{Place, repository};

/// Runs an example for a shorter time than a person would, with faults closer together.
fn run(example: &str, code: i32) -> (Place, serde_json::Value) {
    let place = Place::new();
    let example = repository("examples").join(example);
    let shorter = ["time-limit=9s", "settle=500ms", "nemesis.every=2500ms", "nemesis.duration=1200ms"];
    let mut arguments = vec!["run", "--quiet", example.to_str().unwrap()];
    arguments.extend(shorter.iter().flat_map(|set| ["--set", set]));
    place.schism(&arguments).expect(code);
    let results = place.results();
    (place, results)
}

#[test]
fn the_correct_mode_passes_and_leaves_a_whole_run_directory() {
    let (place, results) = run("demo.yaml", 0);
    assert_eq!(results["verdict"], "pass", "{results:#}");
    let faults = results["faults"].as_array().unwrap();
    assert!(!faults.is_empty());
    for fault in faults {
        assert_eq!((&fault["bit"], &fault["gone"]), (&true.into(), &true.into()), "{fault:#}");
        assert!(!fault["evidence"].as_array().unwrap().is_empty(), "{fault:#}");
    }
    let dir = place.latest();
    for file in
        ["test.yaml", "plan.json", "history.jsonl", "results.json", "report.html", "junit.xml", "schism.log"]
    {
        assert!(fs::metadata(dir.join(file)).unwrap().len() > 0, "{file}");
    }
    for node in ["n1", "n2", "n3", "n4", "n5"] {
        assert!(dir.join("nodes").join(node).join("demo.log").exists(), "the log of {node}");
    }
    let log = fs::read_to_string(dir.join("schism.log")).unwrap();
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["event"].is_string() || line["message"].is_string(), "{line}");
    }
    assert!(log.contains(" injected\"") && log.contains("\"healed\""), "{log}");
}

#[test]
fn local_reads_are_stale() {
    let (place, results) = run("demo-broken.yaml", 1);
    assert_eq!(results["verdict"], "violation");
    let first = &results["checks"][0]["violations"][0];
    let summary = first["summary"].as_str().unwrap();
    assert!(summary.contains("read of key") && summary.contains("before the read began"), "{summary}");
    // The same history judged again says the same.
    let again = place.schism(&["check", "runs/latest"]).expect(1);
    assert!(again.stdout.contains("VIOLATION"), "{}", again.stdout);
    assert_eq!(place.results()["checks"][0]["violations"][0]["summary"], *summary);
}

#[test]
fn early_acknowledgements_are_lost() {
    let (_place, results) = run("demo-ack-early.yaml", 1);
    assert_eq!(results["verdict"], "violation");
}

#[test]
fn a_store_that_forgets_on_restart_is_caught() {
    let (_place, results) = run("demo-forgets.yaml", 1);
    assert_eq!(results["verdict"], "violation");
}
