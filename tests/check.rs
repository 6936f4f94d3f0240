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
    run_of(place, "time-limit: 1s\n", events)
}

/// As [`run`], of a test with these lines.
fn run_of(place: &Place, more: &str, events: &[Value]) -> PathBuf {
    let test = place.file(
        "test.yaml",
        &format!("name: t\nsystem: demo\ncluster: {{ local: 3 }}\nworkload: {{ register: {{}} }}\n{more}"),
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

/// A legal history of one register, and the same with a stale read at its end.
fn pair_of_histories() -> (String, String) {
    let good = history(5);
    let mut bad = good.clone();
    if let Some(last) = bad.last_mut() {
        last["value"] = json!(1);
    }
    (lines(&good), lines(&bad))
}

#[test]
fn a_history_without_a_model_is_told_which_fit() {
    let place = Place::new();
    place.file("history.jsonl", &pair_of_histories().0);
    let finished = place.schism(&["check", "history.jsonl"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("It has read, write, as do the models register"), "{}", finished.stderr);
    let finished = place.schism(&["check", "history.jsonl", "--model", "regster"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("'register'"), "{}", finished.stderr);
}

#[test]
fn a_folder_gets_a_line_a_file_and_the_worst_exit_code() {
    let place = Place::new();
    let (good, bad) = pair_of_histories();
    fs::create_dir_all(place.path().join("all/deep")).unwrap();
    place.file("all/a.jsonl", &good);
    place.file("all/deep/b.jsonl", &bad);
    place.file("all/README.md", "No history.\n");
    let finished = place.schism(&["check", "all", "--model", "register"]);
    assert_eq!(finished.code, Some(1), "{}{}", finished.stdout, finished.stderr);
    let said: Vec<&str> = finished.stdout.lines().collect();
    assert!(said[0].starts_with("skipped    README.md: "), "{said:?}");
    assert!(said[1].starts_with("pass       a.jsonl: 10 operations, 1 object, "), "{said:?}");
    assert!(said[2].starts_with("violation  deep/b.jsonl: 10 operations, 1 object, "), "{said:?}");
    assert!(said[2].contains("had been overwritten by write"), "{said:?}");
    assert_eq!(said[3], "2 histories judged: 1 pass, 1 violation, 1 skipped");

    // A file that is a history but cannot be read is no pass, and takes nothing from the violation.
    place.file("all/c.jsonl", "{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":1}\n{]\n{}\n");
    let finished = place.schism(&["check", "all", "--model", "register"]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stdout.contains("error      c.jsonl: line 2, column 2: "), "{}", finished.stdout);
    fs::remove_file(place.path().join("all/deep/b.jsonl")).unwrap();
    let finished = place.schism(&["check", "all", "--model", "register", "--json"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stdout);
    let whole: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(
        whole["summary"],
        json!({ "pass": 1, "violation": 0, "unknown": 0, "void": 0, "error": 1, "skipped": 1 })
    );
    assert_eq!(whole["files"][0]["file"], "a.jsonl");
    assert_eq!(whole["files"][0]["verdict"], "pass");

    fs::create_dir(place.path().join("none")).unwrap();
    assert_eq!(place.schism(&["check", "none", "--model", "register"]).code, Some(2));
}

#[test]
fn a_single_history_can_come_from_a_pipe_and_have_a_page() {
    let place = Place::new();
    let (good, bad) = pair_of_histories();
    let finished = place.schism_with(&["check", "-", "--model", "register", "--json"], &good);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let printed: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!((&printed["verdict"], &printed["operations"]), (&json!("pass"), &json!(10)));

    let finished = place.schism_with(&["check", "-", "--model", "register", "--report", "page.html"], &bad);
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(page.contains("Violation 1") && page.contains("had been overwritten"), "{page}");
    let unwritable =
        place.schism_with(&["check", "-", "--model", "register", "--report", "no/page.html"], &bad);
    assert_eq!(unwritable.code, Some(2));
    assert!(unwritable.stderr.contains("cannot write no/page.html"), "{}", unwritable.stderr);
}

#[test]
fn an_engine_that_cannot_decide_and_a_budget_of_nothing_are_unknown_not_passes() {
    let place = Place::new();
    // A value written twice is nothing for the polynomial engine.
    let mut twice = [history(1), history(1)].concat();
    for (index, event) in twice.iter_mut().enumerate() {
        event["index"] = json!(index);
        event["time"] = json!(index);
    }
    let twice = lines(&twice);
    place.file("history.jsonl", &twice);
    let check = |more: &[&str]| {
        let finished = place
            .schism(&[&["check", "history.jsonl", "--model", "register", "--key", "none"], more].concat());
        (finished.code, finished.stdout)
    };
    assert_eq!(check(&[]).0, Some(0));
    assert_eq!(check(&["--engine", "search"]).0, Some(0));
    let (code, said) = check(&["--engine", "special"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("the engine `special` cannot decide this"), "{said}");
    assert_eq!(check(&["--engine", "just-in-time", "--time-limit", "0s"]).0, Some(3));
}

#[test]
fn what_a_model_cannot_take_is_named_with_its_line() {
    let place = Place::new();
    place.file(
        "history.jsonl",
        "\n{\"process\":0,\"type\":\"invoke\",\"f\":\"cas\",\"value\":1}\n{\"process\":0,\"type\":\"ok\",\"f\":\"cas\",\"value\":1}\n",
    );
    let finished = place.schism(&["check", "history.jsonl", "--model", "cas-register"]);
    assert_eq!(finished.code, Some(2));
    let said = "history.jsonl:2: the history cannot be checked: event 0: a cas needs";
    assert!(
        finished.stderr.contains(said) && finished.stderr.contains("completes in line 3"),
        "{}",
        finished.stderr
    );
    let finished = place.schism(&["check", "history.jsonl", "--model", "register"]);
    assert!(
        finished.stderr.contains("history.jsonl:2: the history cannot be checked: event 0"),
        "{}",
        finished.stderr
    );
}

#[test]
fn keywords_name_the_fields_of_a_lock() {
    let place = Place::new();
    let text = |second: &str| {
        format!(
            "{{:process 0, :type :invoke, :f :acquire, :value {{:owner \"a\"}}}}\n\
             {{:process 0, :type :ok, :f :acquire, :value {{:owner \"a\", :token 3}}}}\n\
             {{:process 1, :type :invoke, :f :release, :value {{:owner \"{second}\"}}}}\n\
             {{:process 1, :type :ok, :f :release, :value nil}}\n"
        )
    };
    for (second, code) in [("a", 0), ("b", 1)] {
        place.file("history.edn", &text(second));
        let finished = place.schism(&["check", "history.edn", "--model", "fenced-lock"]);
        assert_eq!(finished.code, Some(code), "{}{}", finished.stdout, finished.stderr);
    }
}

#[test]
fn a_run_that_had_no_power_to_show_a_violation_is_void() {
    // Too few operations; too few of them within the load; not a single write that was acknowledged; a fault that was never made.
    let late = |mut events: Vec<Value>| {
        events.iter_mut().skip(100).for_each(|event| event["time"] = json!(2_000_000_000));
        events
    };
    let no_writes = |mut events: Vec<Value>| {
        for event in &mut events {
            let seen = event["f"] == "read" && event["type"] == "ok";
            if event["f"] == "write" && event["type"] == "ok" {
                event["type"] = json!("fail");
            } else if seen {
                event["value"] = Value::Null;
            }
        }
        events
    };
    let fault = "nemesis: { timeline: [{ at: 100ms, for: 200ms, fault: { kill: { targets: [one] } } }] }\n";
    for (more, events, why) in [
        ("", history(10), "20 operations were acknowledged; a pass needs 100"),
        ("power: { ok: 121 }\n", history(60), "120 operations were acknowledged; a pass needs 121"),
        ("", late(history(60)), "50 operations were acknowledged; a pass needs 100"),
        ("", no_writes(history(200)), "not a single write was acknowledged"),
        (fault, history(60), "1 of 1 planned faults were never made"),
    ] {
        let place = Place::new();
        let dir = run_of(&place, &format!("time-limit: 1s\n{more}"), &events);
        judged_before(&place, &dir, &json!([]));
        place.schism(&["check", "run"]).expect(4);
        assert!(reasons(&dir).contains(why), "{}", reasons(&dir));
    }
    // The same without what is missing.
    let place = Place::new();
    let dir = run_of(&place, "time-limit: 1s\npower: { ok: 120 }\n", &history(60));
    judged_before(&place, &dir, &json!([]));
    place.schism(&["check", "run"]).expect(0);
}

#[test]
fn a_violation_outranks_all_that_is_missing_besides() {
    let place = Place::new();
    let mut events = history(3);
    events.last_mut().unwrap()["value"] = json!(1);
    let dir = run(&place, &events);
    for verdict in ["void", "infra", "residue", "unknown"] {
        judged_before(&place, &dir, &json!([{ "verdict": verdict, "what": "Something else was wrong." }]));
        place.schism(&["check", "run"]).expect(1);
    }
}

#[test]
fn what_the_checker_of_a_run_cannot_say_is_no_pass() {
    // A value written twice needs a search, and there is no time or memory for one.
    let mut twice = [history(30), history(30)].concat();
    for (index, event) in twice.iter_mut().enumerate() {
        event["index"] = json!(index);
    }
    for (limit, code) in [("time-limit: 1m", 0), ("time-limit: 1ns", 3), ("memory-limit: 1B", 3)] {
        let place = Place::new();
        let more = format!("time-limit: 1s\nchecks: {{ linearizable: {{ {limit} }} }}\n");
        let dir = run_of(&place, &more, &twice);
        judged_before(&place, &dir, &json!([]));
        place.schism(&["check", "run"]).expect(code);
    }
    // What contradicts itself, or is no operation of the model, was not judged at all.
    for (change, why) in [
        (json!({ "process": 0, "type": "ok", "f": "read", "value": 1 }), "has nothing open"),
        (json!({ "process": 0, "type": "invoke", "f": "jump", "value": 1 }), "has no operation `jump`"),
    ] {
        let place = Place::new();
        let mut events = history(60);
        let mut event = change.clone();
        (event["index"], event["time"]) = (json!(events.len()), json!(999_999));
        events.push(event);
        let dir = run(&place, &events);
        judged_before(&place, &dir, &json!([]));
        place.schism(&["check", "run"]).expect(5);
        assert!(reasons(&dir).contains(why), "{}", reasons(&dir));
    }
}

#[test]
fn a_torn_last_line_makes_a_run_void_and_takes_nothing_from_what_is_whole() {
    let place = Place::new();
    let events = history(60);
    let dir = run(&place, &events);
    let text = lines(&events);
    judged_before(&place, &dir, &json!([]));
    // The last read is open then, and the history has a line as before.
    fs::write(dir.join("history.jsonl"), &text[..text.len() - 10]).unwrap();
    place.schism(&["check", "run"]).expect(4);
    assert!(reasons(&dir).contains("cut off in the middle of its last line"), "{}", reasons(&dir));

    // Only the newline is missing: the operation is complete, and what it shows counts.
    let (good, bad) = pair_of_histories();
    for (text, code) in [(&good, 0), (&bad, 1)] {
        place.file("history.jsonl", text.trim_end());
        let finished = place.schism(&["check", "history.jsonl", "--model", "register"]).expect(code);
        assert!(!finished.stderr.contains("cut short"), "{}", finished.stderr);
    }
    // A torn completion leaves the operation open: it may have happened, so the read before it is fine, and is no read of what
    // nobody wrote; and that it is torn is said.
    let events = [
        json!({ "process": 0, "type": "invoke", "f": "write", "value": 1 }),
        json!({ "process": 1, "type": "invoke", "f": "read" }),
        json!({ "process": 1, "type": "ok", "f": "read", "value": 1 }),
    ];
    place.file("history.jsonl", &format!("{}{{\"process\":0,\"type\":\"fa", lines(&events)));
    let finished = place.schism(&["check", "history.jsonl", "--model", "register"]).expect(0);
    assert!(finished.stderr.contains("line 4, the last, was cut short"), "{}", finished.stderr);
}

#[test]
fn the_worst_of_a_folder_wins_whatever_its_place() {
    let (good, bad) = pair_of_histories();
    let undecided = {
        let mut twice = [history(1), history(1)].concat();
        for (index, event) in twice.iter_mut().enumerate() {
            event["index"] = json!(index);
            event["time"] = json!(index);
        }
        lines(&twice)
    };
    let invoked = "{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":1}\n";
    let broken = format!("{invoked}{invoked}");
    // From the best to the worst: pass, unknown, void, what could not be judged, violation.
    let kinds =
        [(good.as_str(), 0), (undecided.as_str(), 3), (invoked, 4), (broken.as_str(), 2), (bad.as_str(), 1)];
    for (better, (one, _)) in kinds.iter().enumerate() {
        for (other, code) in &kinds[better..] {
            for pair in [[one, other], [other, one]] {
                let place = Place::new();
                place.file("all/a.jsonl", pair[0]);
                place.file("all/b.jsonl", pair[1]);
                let check = ["check", "all", "--model", "register", "--engine", "special", "--key", "none"];
                place.schism(&check).expect(*code);
                place.schism(&[&check[..], &["--json"]].concat()).expect(*code);
            }
        }
    }
    let place = Place::new();
    place.file("all/README.md", "No history.\n");
    place.schism(&["check", "all", "--model", "register"]).expect(2);
}

#[test]
fn the_flags_of_a_check_reach_the_checker() {
    let place = Place::new();
    let first = [
        json!({ "process": 0, "type": "invoke", "f": "read" }),
        json!({ "process": 0, "type": "ok", "f": "read", "value": 4 }),
    ];
    place.file("history.jsonl", &lines(&first));
    let check = |more: &[&str]| {
        place.schism(&[&["check", "history.jsonl", "--model", "register"], more].concat()).code
    };
    assert_eq!(check(&[]), Some(1));
    assert_eq!(check(&["--initial", "4"]), Some(0));
    assert_eq!(check(&["--initial", "\"4\""]), Some(1));
    assert_eq!(check(&["--initial", "null"]), Some(1));
    assert_eq!(check(&["--initial", "4", "--engine", "search", "--memory-limit", "1B"]), Some(3));
    assert_eq!(check(&["--initial", "4", "--engine", "search", "--time-limit", "0s"]), Some(3));
}

#[test]
fn a_witness_is_written_of_a_pass_only_and_is_an_order() {
    let place = Place::new();
    let write = |index: usize, process: u64, kind: &str, f: &str, value: Value| json!({ "index": index, "time": index, "process": process, "type": kind, "f": f, "key": process % 2, "value": value });
    // On key 0 the write that was invoked second came first, as the read after it shows; key 1 has a write and a read.
    let mut events = vec![
        write(0, 0, "invoke", "write", json!(1)),
        write(1, 2, "invoke", "write", json!(2)),
        write(2, 0, "ok", "write", json!(1)),
        write(3, 1, "invoke", "write", json!(3)),
        write(4, 2, "ok", "write", json!(2)),
        write(5, 1, "ok", "write", json!(3)),
        write(6, 4, "invoke", "read", Value::Null),
        write(7, 1, "invoke", "read", Value::Null),
        write(8, 4, "ok", "read", json!(1)),
        write(9, 1, "ok", "read", json!(3)),
    ];
    for engine in ["auto", "search", "just-in-time"] {
        place.file("history.jsonl", &lines(&events));
        let check =
            ["check", "history.jsonl", "--model", "register", "--engine", engine, "--witness", "order.jsonl"];
        place.schism(&check).expect(0);
        let orders = fs::read_to_string(place.path().join("order.jsonl")).unwrap();
        let orders: Vec<Value> = orders.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            orders,
            [json!({ "key": 0, "order": [1, 0, 6] }), json!({ "key": 1, "order": [3, 7] })],
            "{engine}"
        );
        fs::remove_file(place.path().join("order.jsonl")).unwrap();
    }
    events[9]["value"] = Value::Null;
    place.file("history.jsonl", &lines(&events));
    let check = ["check", "history.jsonl", "--model", "register", "--witness", "order.jsonl"];
    let finished = place.schism(&check).expect(1);
    assert!(finished.stderr.contains("only a pass has an order"), "{}", finished.stderr);
    assert!(!place.path().join("order.jsonl").exists());
}
