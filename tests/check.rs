//! `schism check` on run directories and histories: whatever became of them, it never makes a pass of what was none.

use std::fs;
use std::path::PathBuf;

use schism::plan;
use serde_json::{Value, json};

use crate::support::{Finished, Place};

/// A whole history of one key: `ok` writes and as many reads, all within the load of one second.
fn history(ok: u64) -> Vec<Value> {
    let mut events = Vec::new();
    for value in 1..=ok {
        for (f, argument) in [("write", json!(value)), ("read", Value::Null)] {
            for (kind, value) in [("invoke", &argument), ("ok", &json!(value))] {
                let index = events.len();
                events.push(json!({
                    "index": index, "time": 1000 * index, "process": 0, "type": kind, "f": f, "key": 1, "value": value,
                    "node": "n1",
                }));
            }
        }
    }
    events
}

fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

/// A run directory with this history, as a controller leaves it that dies before it judges.
fn run(place: &Place, events: &[Value]) -> PathBuf {
    let test = place.file(
        "test.yaml",
        "name: t\nsystem: demo\ncluster: { local: 3 }\nworkload: { register: {} }\ntime-limit: 1s\n",
    );
    let (test, source, system) = plan::prepare(&test, &[]).unwrap();
    let plan = plan::resolve(&test, &source, &system, 1).unwrap();
    let dir = place.path().join("run");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("plan.json"), plan.to_json()).unwrap();
    fs::write(dir.join("history.jsonl"), lines(events)).unwrap();
    dir
}

fn results(dir: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("results.json")).unwrap()).unwrap()
}

/// Judges as if the run had come to its end with these reasons.
fn judged_before(place: &Place, dir: &std::path::Path, reasons: &Value) {
    place.schism(&["check", "run"]);
    let mut results = results(dir);
    results["reasons"] = reasons.clone();
    fs::write(dir.join("results.json"), results.to_string()).unwrap();
}

fn reasons(dir: &std::path::Path) -> String {
    results(dir)["reasons"].to_string()
}

#[test]
fn a_crashed_run_is_void_however_often_it_is_checked() {
    let place = Place::new();
    let dir = run(&place, &history(60));
    for _ in 0..3 {
        let Finished { code, stdout, .. } = place.schism(&["check", "run"]);
        assert_eq!(code, Some(4), "{stdout}");
        assert!(reasons(&dir).contains("did not come to its end"), "{stdout}");
    }
}

#[test]
fn what_only_the_run_knew_is_kept() {
    let place = Place::new();
    let dir = run(&place, &history(60));
    judged_before(&place, &dir, &json!([]));
    assert_eq!(place.schism(&["check", "run"]).code, Some(0), "{}", reasons(&dir));
    for (verdict, code) in [("void", 4), ("infra", 5), ("residue", 6)] {
        judged_before(&place, &dir, &json!([{ "verdict": verdict, "what": "The load was interrupted." }]));
        assert_eq!(place.schism(&["check", "run"]).code, Some(code));
    }
    // Those of the checkers are found again, or not.
    judged_before(&place, &dir, &json!([{ "verdict": "unknown", "what": "the time budget ran out" }]));
    assert_eq!(place.schism(&["check", "run"]).code, Some(0), "{}", reasons(&dir));
}

#[test]
fn a_history_that_lost_lines_is_void() {
    let place = Place::new();
    let events = history(60);
    let dir = run(&place, &events);
    judged_before(&place, &dir, &json!([]));
    // A whole read less in the middle: the rest would be fine.
    let gap = [&events[..118], &events[120..]].concat();
    let end = events[..236].to_vec();
    for (left, why) in
        [(gap, "is not whole: event 120 stands where event 118 belongs"), (end, "has 236 lines")]
    {
        judged_before(&place, &dir, &json!([]));
        fs::write(dir.join("history.jsonl"), lines(&left)).unwrap();
        let finished = place.schism(&["check", "run"]);
        assert_eq!(finished.code, Some(4), "{}", finished.stdout);
        assert!(reasons(&dir).contains(why), "{}", reasons(&dir));
        fs::write(dir.join("history.jsonl"), lines(&events)).unwrap();
    }
}

#[test]
fn a_history_without_a_success_is_no_pass() {
    let place = Place::new();
    let failed = [
        json!({ "process": 0, "type": "invoke", "f": "write", "value": 1 }),
        json!({ "process": 0, "type": "fail", "f": "write", "value": 1 }),
    ];
    for (text, code) in [(String::new(), 4), (lines(&failed), 4), (lines(&history(1)), 0)] {
        place.file("history.jsonl", &text);
        let finished = place.schism(&["check", "history.jsonl", "--model", "register"]);
        assert_eq!(finished.code, Some(code), "{text}{}", finished.stderr);
    }
}
