//! Verdicts and evidence of the linearizability checker, through its public interface only.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

#[path = "support/brute_force.rs"]
mod brute_force;
#[path = "support/generate.rs"]
mod generate;
#[path = "support/run.rs"]
mod run;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use schism_checkers::linearizable::{CheckError, EXPLAINED, Engine, Model, Options, check};
use schism_checkers::{CheckResult, Validity, Violation};
use schism_history::{Event, Kind, Process, Random, Table, pair};
use serde_json::{Map, Value, json};

use run::run;

/// Milliseconds of invocation and completion, process, what, and the value of the completion.
#[derive(Clone)]
struct Op(u64, u64, u64, &'static str, Value, Kind, Value);

fn ok(start: u64, end: u64, process: u64, f: &'static str, value: Value) -> Op {
    let argument = if f == "read" { Value::Null } else { value.clone() };
    Op(start, end, process, f, argument, Kind::Ok, value)
}

fn ends(kind: Kind, start: u64, end: u64, process: u64, f: &'static str, value: Value) -> Op {
    Op(start, end, process, f, value.clone(), kind, value)
}

/// The history of these operations; times must differ.
fn history(ops: &[Op]) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for Op(start, end, process, f, argument, kind, result) in ops {
        for (time, kind, value) in [(*start, Kind::Invoke, argument), (*end, *kind, result)] {
            events.push(Event {
                index: 0,
                time: time * 1_000_000,
                process: Process::Client(*process),
                kind,
                f: Cow::Borrowed(f),
                key: None,
                value: value.clone(),
                node: Some(format!("n{process}").into()),
                error: (kind == Kind::Fail).then(|| json!("refused")),
                extra: Map::new(),
            });
        }
    }
    events.sort_by_key(|event| event.time);
    for (index, event) in events.iter_mut().enumerate() {
        event.index = index as u64;
    }
    events
}

fn judge(events: &[Event], options: &Options) -> CheckResult {
    check(&Table::from_events(events).unwrap(), options).unwrap()
}

fn cas_register() -> Options {
    Options::new(Model::CasRegister)
}

/// By the search, which a budget can stop.
fn searching() -> Options {
    Options { engine: Engine::JustInTime, ..cas_register() }
}

/// The one violation of a history, checked for what every violation must have.
fn violation(events: &[Event]) -> Violation {
    let result = judge(events, &cas_register());
    assert_eq!(result.validity, Validity::Violation);
    assert_eq!((result.violations.len(), result.violating_keys), (1, 1));
    let violation = result.violations[0].clone();
    let (start, end) = violation.window;
    assert!(start < end && !violation.explanation.is_empty());
    violation
}

/// The events of the operations whose invocations have these indices.
fn only(events: &[Event], invocations: &[u64]) -> Vec<Event> {
    let operations = pair(events).unwrap();
    let mut kept: Vec<Event> = operations
        .iter()
        .filter(|operation| invocations.contains(&operation.invocation.index))
        .flat_map(|operation| std::iter::once(operation.invocation).chain(operation.completion))
        .cloned()
        .collect();
    kept.sort_by_key(|event| event.index);
    kept
}

#[test]
fn a_stale_read_is_told_with_values_nodes_and_times() {
    let events = history(&[
        ok(12_000, 12_010, 1, "write", json!(4)),
        ok(12_250, 12_261, 2, "write", json!(5)),
        ok(12_270, 12_275, 1, "read", json!(5)),
        ok(12_301, 12_305, 3, "read", json!(4)),
    ]);
    let violation = violation(&events);
    assert_eq!(
        violation.summary,
        "read at n3 returned 4, invoked at 12.301 s, completed at 12.305 s; but 4 had been overwritten by write 5 \
         (process 2 at n2), acknowledged at 12.261 s, 40 ms before the read began"
    );
    assert_eq!(
        violation.explanation,
        [
            "Write 4 (process 1 at n1) was invoked at 12.000 s and acknowledged at 12.010 s. No other write of 4 began before the read ended.",
            "Write 5 (process 2 at n2) was invoked at 12.250 s and acknowledged at 12.261 s. It began after 4 was there.",
            "The read (process 3 at n3) was invoked at 12.301 s and returned 4 at 12.305 s. That is 40 ms after 12.261 s.",
            "5 was not lost: the read (process 1 at n1) had it, completed at 12.275 s.",
        ]
    );
    assert_eq!(violation.operations, [6, 0, 2]);
    assert_eq!(violation.window, (12_000_000_000, 12_305_000_000));
}

#[test]
fn a_lost_write_is_told_as_such() {
    let events = history(&[ok(10, 20, 1, "write", json!(1)), ok(30, 40, 2, "read", json!(null))]);
    let violation = violation(&events);
    assert!(
        violation.summary.contains("returned null") && violation.summary.contains("overwritten by write 1")
    );
    assert!(violation.explanation.contains(&"null is the initial value; nothing wrote it.".into()));
    assert!(
        violation.explanation.contains(&"No operation ever saw 1: it may be lost, not only late.".into())
    );
    assert_eq!(violation.operations, [2, 0]);
}

#[test]
fn a_value_that_nobody_can_have_written_is_told_with_who_might_have() {
    let never = violation(&history(&[ok(10, 20, 1, "write", json!(1)), ok(30, 40, 2, "read", json!("x"))]));
    assert!(never.summary.ends_with("but nothing ever wrote \"x\""), "{}", never.summary);
    assert_eq!(never.operations, [2]);

    let failed = violation(&history(&[
        ends(Kind::Fail, 10, 20, 1, "write", json!(7)),
        ok(30, 40, 2, "read", json!(7)),
    ]));
    assert!(
        failed
            .summary
            .ends_with("would have written 7, write 7 (process 1 at n1), failed at 0.020 s (\"refused\")"),
        "{}",
        failed.summary
    );
    assert_eq!(failed.operations, [2, 0]);

    let future = violation(&history(&[ok(30, 40, 2, "read", json!(7)), ok(43, 50, 1, "write", json!(7))]));
    assert!(
        future.summary.ends_with(
            "7 was not written before write 7 (process 1 at n1), invoked at 0.043 s, 3.0 ms after that"
        ),
        "{}",
        future.summary
    );
}

#[test]
fn reads_that_go_back_in_time_are_told_with_both_reads() {
    // The writes are concurrent with everything; only the reads order them.
    let events = history(&[
        ok(1, 90, 1, "write", json!(4)),
        ok(2, 91, 2, "write", json!(5)),
        ok(10, 20, 3, "read", json!(4)),
        ok(30, 40, 4, "read", json!(5)),
        ok(50, 60, 5, "read", json!(4)),
    ]);
    let violation = violation(&events);
    assert!(
        violation.summary.contains(
            "4 was no longer there: the read (process 4 at n4) had already returned 5 by 0.040 s, 10 ms before the read \
             began"
        ),
        "{}",
        violation.summary
    );
    assert_eq!(violation.operations.len(), 5);
    assert_eq!(judge(&only(&events, &violation.operations), &cas_register()).validity, Validity::Violation);
}

#[test]
fn two_operations_of_one_value_between_are_found_too() {
    // The write of 4 and the read of it in the end enclose the time at which 5 must have been there.
    let events = history(&[
        ok(1, 5, 1, "write", json!(4)),
        ok(2, 45, 2, "write", json!(5)),
        ok(10, 20, 3, "read", json!(4)),
        ok(30, 70, 4, "read", json!(5)),
        ok(50, 60, 5, "read", json!(4)),
    ]);
    let violation = violation(&events);
    assert!(
        violation.summary.ends_with(
            "but 5 and 4 were written once each, and 4 was there both before the read began (by 0.005 s: write 4 \
             (process 1 at n1)) and after 5 had come (at 0.050 s: the read (process 5 at n5))"
        ),
        "{}",
        violation.summary
    );
}

#[test]
fn a_cas_from_a_value_that_was_gone_is_told() {
    let events = history(&[
        ok(10, 20, 1, "write", json!(4)),
        ok(30, 40, 2, "cas", json!([4, 5])),
        ok(50, 60, 3, "cas", json!([4, 6])),
    ]);
    let violation = violation(&events);
    assert_eq!(
        violation.summary,
        "cas at n3 from 4 to 6 succeeded, invoked at 0.050 s, completed at 0.060 s; but 4 had been replaced by cas from 4 \
         to 5 (process 2 at n2), acknowledged at 0.040 s, 10 ms before the cas began"
    );
}

#[test]
fn two_concurrent_cas_cannot_both_take_what_was_written_once() {
    let events = history(&[
        ok(10, 20, 1, "write", json!(4)),
        ok(30, 50, 2, "cas", json!([4, 5])),
        ok(40, 60, 3, "cas", json!([4, 6])),
    ]);
    let violation = violation(&events);
    assert!(violation.summary.contains("4 was written only once"), "{}", violation.summary);
    assert_eq!(violation.operations, [3, 0, 2]);
}

#[test]
fn what_has_no_name_is_listed() {
    // Both cas must have happened, but each needs the value that the other makes, and nothing else does.
    let events = history(&[
        ok(10, 20, 1, "write", json!(1)),
        ok(30, 60, 2, "cas", json!([1, 2])),
        ok(31, 61, 3, "cas", json!([2, 3])),
        ok(70, 80, 4, "write", json!(9)),
        ok(81, 85, 4, "read", json!(9)),
        ok(90, 95, 2, "cas", json!([9, 2])),
        ok(96, 98, 3, "read", json!(3)),
    ]);
    let violation = violation(&events);
    assert_eq!(violation.operations[0], 12);
    assert_eq!(judge(&only(&events, &violation.operations), &cas_register()).validity, Validity::Violation);
}

#[test]
fn unknown_outcomes_may_happen_late_or_never_and_failures_never() {
    let crash = |kind| ends(kind, 10, 20, 1, "write", json!(7));
    let read = |start, value| ok(start, start + 5, 2, "read", value);
    for (kind, reads, valid) in [
        (Kind::Info, vec![read(30, json!(null)), read(40, json!(7))], true),
        (Kind::Info, vec![read(30, json!(null)), read(40, json!(null))], true),
        (Kind::Info, vec![read(30, json!(7)), read(40, json!(null))], false),
        (Kind::Fail, vec![read(30, json!(null))], true),
        (Kind::Fail, vec![read(30, json!(7))], false),
        (Kind::Ok, vec![read(30, json!(null))], false),
        (Kind::Ok, vec![read(30, json!(7))], true),
    ] {
        let mut ops = vec![crash(kind)];
        ops.extend(reads);
        let events = history(&ops);
        assert_eq!(judge(&events, &cas_register()).validity == Validity::Pass, valid, "{kind}");
        // An operation that the history ends in is as unknown as info.
        if kind == Kind::Info {
            let open: Vec<Event> = events.into_iter().filter(|event| event.kind != Kind::Info).collect();
            assert_eq!(judge(&open, &cas_register()).validity == Validity::Pass, valid);
        }
    }
}

#[test]
fn a_failed_cas_says_nothing_about_the_value() {
    let events = history(&[
        ok(10, 20, 1, "write", json!(1)),
        ends(Kind::Fail, 30, 40, 2, "cas", json!([1, 2])),
        ok(50, 60, 1, "read", json!(1)),
    ]);
    assert_eq!(judge(&events, &cas_register()).validity, Validity::Pass);
}

#[test]
fn what_the_model_does_not_have_or_cannot_read_is_an_error() {
    let error = |ops: &[Op], model| {
        check(&Table::from_events(&history(ops)).unwrap(), &Options::new(model)).unwrap_err()
    };
    let unknown = error(&[ok(1, 2, 1, "append", json!(1))], Model::CasRegister);
    assert_eq!(unknown.to_string(), "event 0: the model `cas-register` has no operation `append`");
    let cas = error(&[ok(1, 2, 1, "cas", json!([1, 2]))], Model::Register);
    assert!(
        matches!(&cas, CheckError::UnknownOperation { .. })
            && cas.to_string().contains("`cas-register` does")
    );
    for value in [json!(1), json!([1]), json!([1, 2, 3]), json!(null), json!({"expected": 1})] {
        let malformed = error(&[ends(Kind::Info, 1, 2, 1, "cas", value)], Model::CasRegister);
        assert!(malformed.to_string().contains("[expected, new]"), "{malformed}");
    }
    let other = error(&[Op(1, 2, 1, "write", json!(1), Kind::Ok, json!(2))], Model::Register);
    assert!(other.to_string().contains("acknowledged (event 1) with another value, 2"), "{other}");
    let large: Value = serde_json::from_str("18446744073709551617").unwrap();
    assert!(error(&[ok(1, 2, 1, "write", large)], Model::Register).to_string().contains("too large"));
    let unknown = "registre".parse::<Model>().unwrap_err().to_string();
    assert!(Model::ALL.iter().all(|model| unknown.contains(&format!("`{model}`"))), "{unknown}");
    assert_eq!("cas-register".parse::<Model>().unwrap(), Model::CasRegister);
}

#[test]
fn what_is_still_open_proves_nothing() {
    // Whatever the first one returned later: when the second one was over, nothing was wrong yet.
    for f in ["read", "get-and-increment"] {
        let mut events = history(&[
            Op(10, 40, 1, f, Value::Null, Kind::Ok, json!(-1)),
            Op(20, 30, 2, "increment", Value::Null, Kind::Ok, Value::Null),
        ]);
        for engine in [Engine::Auto, Engine::Search] {
            let options = Options { engine, ..Options::new(Model::Counter) };
            let result = judge(&events, &options);
            assert_eq!(result.validity, Validity::Violation);
            assert_eq!(result.violations[0].operations[0], 0, "{:#?}", result.violations);
        }
        // Nothing is wrong with the second one alone.
        events.retain(|event| event.f == "increment");
        assert_eq!(judge(&events, &Options::new(Model::Counter)).validity, Validity::Pass);
    }
}

#[test]
fn an_empty_history_passes_with_nothing_checked() {
    let result = judge(&[], &cas_register());
    assert_eq!((result.validity, result.keys, result.operations), (Validity::Pass, 0, 0));
}

#[test]
fn a_minute_of_rotating_keys_is_decided_at_once_and_one_stale_read_is_found() {
    let mut events = run(5, 60_000, 10, 500);
    let table = Table::from_events(&events).unwrap();
    let crashes = events.iter().filter(|event| event.kind == Kind::Info).count();
    assert!(crashes > 200, "{crashes}");
    let started = Instant::now();
    let result = check(&table, &cas_register()).unwrap();
    println!("60,000 operations, {crashes} of unknown outcome: {:?}", started.elapsed());
    assert_eq!((result.validity, result.keys, result.operations), (Validity::Pass, 120, 60_000));
    // Two seconds are the promise; a busy machine and a debug build get some more.
    assert!(started.elapsed() < Duration::from_secs(10));

    // The planted bug: a read late in key 77 answers what was true long before.
    let reads: Vec<usize> = (0..events.len())
        .filter(|at| {
            events[*at].kind == Kind::Ok && events[*at].f == "read" && events[*at].key == Some(json!(77))
        })
        .collect();
    let (early, late) = (reads[5], reads[reads.len() - 5]);
    assert_ne!(events[early].value, events[late].value);
    events[late].value = events[early].value.clone();
    let violation = violation(&events);
    assert_eq!(violation.key, Some(json!(77)));
    assert!(violation.summary.starts_with("read of key 77 at n"), "{}", violation.summary);
    let culprit =
        pair(&events).unwrap().iter().find(|one| one.invocation.index == violation.operations[0]).copied();
    assert_eq!(culprit.unwrap().completed_at, Some(late));
}

#[test]
fn violations_are_counted_all_explained_some_and_ordered_by_clarity() {
    let mut events = Vec::new();
    for key in 0..40_u64 {
        // Even keys: two operations are the proof; odd keys: three.
        let mut ops = vec![ok(10, 20, 1, "write", json!(1)), ok(30, 40, 2, "write", json!(2))];
        ops.push(ok(50, 60, 3, "read", if key % 2 == 0 { json!(null) } else { json!(1) }));
        for mut event in history(&ops) {
            event.key = Some(json!(format!("k{key}")));
            event.index = events.len() as u64;
            event.time += key * 1_000_000_000;
            events.push(event);
        }
    }
    let result = judge(&events, &cas_register());
    assert_eq!((result.violating_keys, result.violations.len()), (40, EXPLAINED));
    let order: Vec<(usize, u64)> =
        result.violations.iter().map(|violation| (violation.operations.len(), violation.window.0)).collect();
    assert!(order.is_sorted() && order.iter().all(|(count, _)| *count == 2), "{order:?}");
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let mut events = run(6, 5_000, 8, 100);
    let mut random = Random::new(9, "damage");
    for event in &mut events {
        if event.f == "read" && event.kind == Kind::Ok && random.below(60) == 0 {
            event.value = json!(1 + random.below(5_000));
        }
    }
    let results: Vec<Value> = [1, 2, 5]
        .iter()
        .map(|threads| {
            let mut result = judge(&events, &Options { threads: *threads, ..cas_register() });
            result.seconds = 0.0;
            serde_json::to_value(result).unwrap()
        })
        .collect();
    assert_eq!(results[0]["validity"], "violation");
    assert!(results.iter().all(|result| *result == results[0]));
}

/// Writes and reads of a dozen values, all concurrent: any of them can be done by the time the last read returns, so there
/// are thousands of configurations.
fn crowd() -> Vec<Event> {
    let mut ops = Vec::new();
    for process in 0..12 {
        ops.push(ok(process, 1_000 + process, process, "write", json!(process + 100)));
        ops.push(ok(50 + process, 1_100 + process, 50 + process, "read", json!(process + 100)));
    }
    ops.push(ok(500, 600, 99, "write", json!(0)));
    ops.push(ok(700, 800, 98, "read", json!(0)));
    history(&ops)
}

#[test]
fn past_a_budget_the_answer_is_unknown_and_says_how_far_it_came() {
    let events = crowd();
    let time = judge(&events, &Options { time_budget: Some(Duration::ZERO), ..searching() });
    assert_eq!(time.validity, Validity::Unknown);
    let message = time.unknown.unwrap();
    assert!(message.starts_with("the time budget of 0 s ran out: 1 of 1 keys undecided"), "{message}");
    assert!(message.ends_with("completed operations of 26"), "{message}");
    let memory = judge(&events, &Options { memory_budget: Some(10_000), ..searching() });
    assert_eq!(memory.validity, Validity::Unknown);
    assert!(memory.unknown.unwrap().starts_with("the memory budget"));
    assert!(memory.violations.is_empty());
}

#[test]
fn a_violation_outranks_an_undecided_key_and_both_are_said() {
    let mut events = history(&[ok(10, 20, 1, "read", json!(3))]);
    for mut event in crowd() {
        event.key = Some(json!("crowd"));
        event.process = match event.process {
            Process::Client(process) => Process::Client(process + 1000),
            Process::Nemesis => Process::Nemesis,
        };
        event.index = events.len() as u64;
        events.push(event);
    }
    let result = judge(&events, &Options { memory_budget: Some(10_000), ..searching() });
    assert_eq!(result.validity, Validity::Violation);
    assert!(result.unknown.unwrap().contains("of key \"crowd\""));
}

#[test]
fn small_histories_get_the_verdict_of_brute_force_and_evidence_that_is_impossible_by_itself() {
    let mut random = Random::new(3, "small histories");
    let mut verdicts = [0_u32; 2];
    let options = Options { threads: 1, ..cas_register() };
    for _ in 0..40_000 {
        let shape = generate::Shape::draw(&mut random, 9);
        let events = generate::history(&mut random, shape);
        let expected = brute_force::linearizable(&events);
        verdicts[usize::from(expected)] += 1;
        let result = judge(&events, &options);
        let shown =
            || events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect::<String>();
        assert_eq!(result.validity == Validity::Pass, expected, "{}", shown());
        for violation in &result.violations {
            assert!(!violation.summary.is_empty());
            let alone = only(&events, &violation.operations);
            assert!(!brute_force::linearizable(&alone), "{}\n{violation:#?}", shown());
            // Without its first operation, the impossible one, nothing is proved any more, provided that the rest
            // still has the writes that it reads from.
            let rest: Vec<u64> = events
                .iter()
                .map(|event| event.index)
                .filter(|index| *index != violation.operations[0])
                .collect();
            let end = pair(&events)
                .unwrap()
                .iter()
                .find(|one| one.invocation.index == violation.operations[0])
                .and_then(|one| one.completed_at)
                .unwrap();
            let before = only(&events[..end], &rest);
            assert!(brute_force::linearizable(&before), "{}\n{violation:#?}", shown());
        }
    }
    assert!(verdicts.iter().all(|count| *count > 8_000), "{verdicts:?}");
}
