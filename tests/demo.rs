//! The built-in demo system from the command line: the correct mode passes, each wrong one is exposed.

use std::fs;

use schism_history::{History, Kind};
use serde_json::Value;

use crate::support::{Place, repository};

/// Runs an example for a shorter time than a person would, with faults closer together.
fn run(example: &str, code: i32) -> (Place, Value) {
    let place = Place::new();
    let example = repository("examples").join(example);
    let shorter = ["time-limit=9s", "settle=500ms", "nemesis.every=2500ms", "nemesis.duration=1200ms"];
    let mut arguments = vec!["run", "--quiet", example.to_str().unwrap()];
    arguments.extend(shorter.iter().flat_map(|set| ["--set", set]));
    place.schism(&arguments).expect(code);
    let results = place.results();
    (place, results)
}

/// The lines of the newest run's `schism.log` about this event.
fn logged(place: &Place, event: &str) -> Vec<Value> {
    let log = fs::read_to_string(place.latest().join("schism.log")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
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
    // The check during the run has seen all of it and says the same.
    let [live] = &logged(&place, "live check done")[..] else { panic!("{log}") };
    assert_eq!((&live["violations"], &live["undecided"]), (&0.into(), &0.into()), "{live}");
    assert_eq!(live["events"], results["events"], "{live}");
    for event in ["violation", "disagreement", "live check given up", "load stopped"] {
        assert_eq!(logged(&place, event), [] as [Value; 0]);
    }
}

#[test]
fn a_violation_is_told_at_once_and_stops_the_load_if_asked_to() {
    const LIMIT: u64 = 40_000_000_000;
    let place = Place::new();
    place.file(
        "test.yaml",
        "name: stopped
system: { name: demo, settings: { mode: local-reads } }
cluster: { local: 3 }
workload: { register: { keys: 3, rate: 300/s } }
nemesis:
  timeline:
    - { at: 0s, for: 30s, fault: { partition: { shape: one } } }
    - { at: 35s, for: 2s, fault: { kill: { targets: one } } }
time-limit: 40s
settle: 100ms
seed: 1
",
    );
    let finished = place.schism(&["run", "test.yaml", "--stop-on-violation"]).expect(1);
    let results = place.results();
    assert_eq!(results["verdict"], "violation");
    assert!(results["sentence"].as_str().unwrap().contains("The load was stopped at "), "{results:#}");
    assert!(results["run"]["command"].as_str().unwrap().ends_with(" --stop-on-violation"), "{results:#}");

    // By the history's own times the load ended where the results say, and everything after it followed.
    let stopped = &results["stopped"];
    let at = stopped["at"].as_u64().unwrap();
    let history = History::open(&place.latest().join("history.jsonl")).unwrap().events;
    assert!(history.iter().all(|event| event.time < LIMIT / 2), "{:?}", history.last());
    let completion = &history[usize::try_from(stopped["index"].as_u64().unwrap()).unwrap()];
    assert!(completion.time <= at, "{completion:?} is later than {at}");
    assert!(history.last().unwrap().time > at, "there are no final reads");
    let [fault] = &results["faults"].as_array().unwrap()[..] else { panic!("{results:#}") };
    assert_eq!((&fault["bit"], &fault["gone"]), (&true.into(), &true.into()), "{fault:#}");
    assert!(fault["heal"].as_u64().unwrap() > at, "{fault:#}");
    // That the other one was never made is no reason against a run that has shown a violation.
    let verdicts = results["reasons"].as_array().unwrap().iter().map(|reason| &reason["verdict"]);
    assert_eq!(verdicts.collect::<Vec<_>>(), ["violation"], "{results:#}");

    let found = &logged(&place, "violation")[0];
    assert_eq!((&found["index"], &found["what"]), (&stopped["index"], &stopped["what"]), "{found}");
    assert_eq!(found["model"], "cas-register");
    assert_eq!(completion.kind, Kind::Ok, "{completion:?}");
    let key = completion.key.clone().unwrap();
    assert_eq!(found["key"], key.to_string());
    let told = format!("\nviolation found: key {key}, event {}\n", completion.index);
    assert!(finished.stderr.contains(&told), "{told:?} is not in {}", finished.stderr);
    assert_eq!(logged(&place, "disagreement"), [] as [Value; 0]);
    assert_eq!(logged(&place, "load stopped").len(), 1);

    // The operations of this key up to this event contradict the model by themselves.
    let beginning = history.iter().take_while(|event| event.index <= completion.index);
    let of_key = beginning.filter(|event| event.key.as_ref() == Some(&key));
    let lines = of_key.map(|event| serde_json::to_string(event).unwrap() + "\n");
    let file = place.file("beginning.jsonl", &lines.collect::<String>());
    place.schism(&["check", file.to_str().unwrap(), "--model", "cas-register"]).expect(1);
    // Judged again, it says the same.
    place.schism(&["check", "runs/latest"]).expect(1);
    let again = place.results();
    for field in ["verdict", "sentence", "stopped", "reasons"] {
        assert_eq!(again[field], results[field], "{field}");
    }
}

#[test]
fn local_reads_are_stale() {
    let (place, results) = run("demo-broken.yaml", 1);
    assert_eq!(results["verdict"], "violation");
    // Nobody asked for an early end.
    assert_eq!(results["stopped"], Value::Null);
    assert!(!logged(&place, "violation").is_empty());
    let [live] = &logged(&place, "live check done")[..] else { panic!("no last word of the live check") };
    assert_eq!(live["violations"], results["checks"][0]["violating_keys"], "{live}");
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
