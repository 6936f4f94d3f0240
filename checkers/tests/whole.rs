//! What lies above the engines: how a history becomes objects and calls, what its times, keys and outcomes mean, and how the answers about the
//! objects become one. Every test here was written for a mistake that no other test noticed, or for one that would be a wrong pass.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::time::Duration;

use schism_checkers::linearizable::live::{Pace, live};
use schism_checkers::linearizable::{CheckError, Engine, Model, Options, check, witness};
use schism_checkers::{CheckResult, Validity};
use schism_history::{Builder, Event, Kind, Process, Table};
use serde_json::{Map, Value, json};

/// A history in the making. Every event is at the time 7 unless something else is said.
#[derive(Clone, Default)]
struct Story {
    events: Vec<Event>,
    key: Option<Value>,
    fresh: u64,
}

impl Story {
    fn event(&mut self, process: u64, kind: Kind, f: &'static str, value: Value) -> &mut Self {
        self.fresh = self.fresh.max(process + 1);
        self.events.push(Event {
            index: self.events.len() as u64,
            time: 7,
            process: Process::Client(process),
            kind,
            f: f.into(),
            key: self.key.clone(),
            value,
            node: None,
            error: None,
            extra: Map::new(),
        });
        self
    }

    /// What follows concerns this key.
    fn on(&mut self, key: Option<Value>) -> &mut Self {
        self.key = key;
        self
    }

    /// An operation of a process of its own, with nothing beside it.
    fn done(&mut self, f: &'static str, argument: Value, kind: Kind, result: Value) -> &mut Self {
        let process = self.fresh;
        self.event(process, Kind::Invoke, f, argument).event(process, kind, f, result)
    }

    fn write(&mut self, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        self.done("write", value.clone(), Kind::Ok, value)
    }

    fn read(&mut self, value: impl Into<Value>) -> &mut Self {
        self.done("read", Value::Null, Kind::Ok, value.into())
    }

    fn table(&self) -> Table {
        Table::from_events(&self.events).unwrap()
    }

    fn judged(&self, options: &Options) -> CheckResult {
        check(&self.table(), options).unwrap()
    }

    /// What all engines say, and the check that follows the history: they must agree.
    fn verdict(&self, model: Model) -> (Validity, usize) {
        let said: Vec<(Validity, usize)> = Engine::ALL
            .into_iter()
            .map(|engine| self.judged(&Options { engine, ..Options::new(model) }))
            .filter(|result| result.validity != Validity::Unknown)
            .map(|result| (result.validity, result.violating_keys))
            .collect();
        assert!(said.len() >= 2 && said.iter().all(|one| *one == said[0]), "{said:?}");
        let (found, summary) = live(&Options::new(model), Builder::new(), &Pace::default(), |live| {
            self.events.iter().for_each(|event| live.event(event).unwrap());
            (live.look(Duration::ZERO), live.finish().unwrap())
        });
        assert_eq!((summary.validity, summary.violating.len()), said[0]);
        assert!(found.iter().all(|finding| summary.violating.contains(finding)), "{found:?}");
        said[0]
    }
}

const PASS: (Validity, usize) = (Validity::Pass, 0);
const VIOLATION: (Validity, usize) = (Validity::Violation, 1);

#[test]
fn where_times_are_equal_the_order_of_the_events_decides() {
    // The write was over before the read began, in the same nanosecond.
    let mut after = Story::default();
    after.event(0, Kind::Invoke, "write", json!(1)).event(0, Kind::Ok, "write", json!(1));
    after.event(1, Kind::Invoke, "read", Value::Null).event(1, Kind::Ok, "read", Value::Null);
    // The read began before the write was over, in the same nanosecond.
    let mut beside = Story::default();
    beside.event(0, Kind::Invoke, "write", json!(1)).event(1, Kind::Invoke, "read", Value::Null);
    beside.event(0, Kind::Ok, "write", json!(1)).event(1, Kind::Ok, "read", Value::Null);
    for model in [Model::Register, Model::CasRegister] {
        assert_eq!(after.verdict(model), VIOLATION);
        assert_eq!(beside.verdict(model), PASS);
        // Not even clocks that go back count.
        for story in [&after, &beside] {
            let mut back = story.clone();
            back.events.iter_mut().for_each(|event| event.time = 100 - event.index);
            assert_eq!(back.verdict(model), story.verdict(model));
        }
    }
}

/// Keys that look alike and are none of them the same.
fn keys() -> Vec<Option<Value>> {
    let mut keys: Vec<Option<Value>> = [
        json!(null),
        json!(0),
        json!(1),
        json!(-1),
        json!(true),
        json!(false),
        json!("1"),
        json!("01"),
        json!("1.0"),
        json!(""),
        json!(" 1"),
        json!("true"),
        json!("null"),
        json!([]),
        json!([1]),
        json!(["1"]),
        json!([[1]]),
        json!("[1]"),
        json!({}),
        json!({ "a": 1 }),
        json!({ "a": "1" }),
        json!({ "a": null }),
        json!(1.5),
        json!(4_294_967_297_u64),
        json!(2_147_483_647),
        json!(2_147_483_648_u64),
        json!(1_073_741_824),
        json!("a"),
        json!("A"),
        json!(":a"),
    ]
    .map(Some)
    .to_vec();
    keys.push(None);
    keys
}

#[test]
fn keys_are_the_same_only_if_type_and_value_are() {
    for (place, one) in keys().into_iter().enumerate() {
        for other in keys().into_iter().skip(place + 1) {
            let mut story = Story::default();
            story.on(one.clone()).write(1).on(other.clone()).read(Value::Null).on(one.clone()).read(1);
            assert_eq!(story.verdict(Model::Register), PASS, "{one:?} and {other:?}");
            assert_eq!(story.judged(&Options::new(Model::Register)).keys, 2, "{one:?} and {other:?}");
        }
        let mut story = Story::default();
        story.on(one.clone()).write(1).read(Value::Null);
        assert_eq!(story.verdict(Model::Register), VIOLATION, "{one:?}");
        let violations = story.judged(&Options::new(Model::Register)).violations;
        assert_eq!(violations[0].key, one);
    }
    // A number is the same however it is written.
    let mut story = Story::default();
    story.on(Some(json!(1))).write(1).on(Some(json!(1.0))).read(Value::Null);
    assert_eq!(story.verdict(Model::Register), VIOLATION);
    let mut story = Story::default();
    story.on(Some(json!({ "a": 1, "b": 2 }))).write(1);
    story.on(Some(json!({ "b": 2, "a": 1 }))).read(Value::Null);
    assert_eq!(story.verdict(Model::Register), VIOLATION);
}

#[test]
fn keys_in_arguments_are_the_same_only_if_type_and_value_are() {
    for (place, one) in keys().into_iter().flatten().enumerate() {
        let put = json!({ "key": one, "value": 1 });
        for other in keys().into_iter().flatten().skip(place + 1) {
            let mut story = Story::default();
            story.done("put", put.clone(), Kind::Ok, Value::Null);
            story.done("get", json!({ "key": other }), Kind::Ok, Value::Null);
            story.done("get", json!({ "key": one }), Kind::Ok, json!(1));
            assert_eq!(story.verdict(Model::KeyValue), PASS, "{one} and {other}");
            assert_eq!(story.judged(&Options::new(Model::KeyValue)).keys, 2, "{one} and {other}");
        }
        let mut story = Story::default();
        story.done("put", put, Kind::Ok, Value::Null);
        story.done("get", json!({ "key": one }), Kind::Ok, Value::Null);
        assert_eq!(story.verdict(Model::KeyValue), VIOLATION, "{one}");
    }
}

#[test]
fn one_violating_object_is_found_wherever_it_is() {
    const OBJECTS: usize = 130;
    let mut good = Story::default();
    for key in 0..OBJECTS {
        good.on(Some(json!(key))).write(1).read(1).write(2).read(2);
    }
    assert_eq!(good.verdict(Model::Register), PASS);
    for place in 0..OBJECTS {
        let mut story = good.clone();
        let last = (0..story.events.len()).rfind(|at| story.events[*at].key == Some(json!(place))).unwrap();
        story.events[last].value = json!(1);
        let result = story.judged(&Options::new(Model::Register));
        assert_eq!((result.validity, result.violating_keys, result.keys), (Validity::Violation, 1, OBJECTS));
        assert_eq!(result.violations.len(), 1);
        assert_eq!(result.violations[0].key, Some(json!(place)));
        let witnesses = witness(&story.table(), &Options::new(Model::Register)).unwrap();
        let failed: Vec<&Option<Value>> =
            witnesses.iter().filter(|one| one.order.is_err()).map(|one| &one.key).collect();
        assert_eq!(failed, [&Some(json!(place))]);
        if place % 10 == 9 {
            assert_eq!(story.verdict(Model::Register), VIOLATION);
        }
    }
}

#[test]
fn a_violation_beats_unknown_and_unknown_beats_pass_in_every_arrangement() {
    // The polynomial engine cannot decide an object to which a value was written twice.
    let options = Options { engine: Engine::Special, ..Options::new(Model::Register) };
    for arrangement in 0..3_usize.pow(4) {
        let kinds: Vec<usize> = (0..4).map(|place| arrangement / 3_usize.pow(place) % 3).collect();
        let mut story = Story::default();
        for (key, kind) in kinds.iter().enumerate() {
            story.on(Some(json!(key))).write(1);
            match kind {
                0 => story.read(1),
                1 => story.write(1).read(1),
                _ => story.read(Value::Null),
            };
        }
        let count = |kind| kinds.iter().filter(|one| **one == kind).count();
        let expected = match (count(2), count(1)) {
            (0, 0) => Validity::Pass,
            (0, _) => Validity::Unknown,
            _ => Validity::Violation,
        };
        let result = story.judged(&options);
        assert_eq!((result.validity, result.violating_keys), (expected, count(2)), "{kinds:?}");
        match (count(1), result.unknown) {
            (0, unknown) => assert_eq!(unknown, None, "{kinds:?}"),
            (some, unknown) => {
                let first = kinds.iter().position(|kind| *kind == 1).unwrap();
                let unknown = unknown.unwrap();
                assert!(unknown.contains(&format!("{some} of 4 keys undecided")), "{kinds:?}: {unknown}");
                assert!(unknown.contains(&format!("of key {first} ")), "{kinds:?}: {unknown}");
            }
        }
    }
}

#[test]
fn an_operation_that_does_not_fit_is_an_error_wherever_it_may_have_happened() {
    for (kind, refused) in
        [(None, true), (Some(Kind::Info), true), (Some(Kind::Ok), true), (Some(Kind::Fail), false)]
    {
        for first in [false, true] {
            let mut story = Story::default();
            if !first {
                story.on(Some(json!("a"))).write(1).read(1);
            }
            story.on(Some(json!("b"))).event(50, Kind::Invoke, "jump", json!(3));
            if let Some(kind) = kind {
                story.event(50, kind, "jump", json!(3));
            }
            if first {
                story.on(Some(json!("c"))).write(1).read(Value::Null);
            }
            let at = if first { 0 } else { 4 };
            for engine in Engine::ALL {
                let options = Options { engine, ..Options::new(Model::Register) };
                let result = check(&story.table(), &options);
                let error = result.as_ref().err();
                let named = matches!(error, Some(CheckError::UnknownOperation { index, .. }) if *index == at);
                assert_eq!(named, refused, "{kind:?}: {result:?}");
                assert_eq!(error.is_some(), refused);
                assert_eq!(witness(&story.table(), &options).is_err(), refused);
            }
        }
    }
}

#[test]
fn what_the_nemesis_does_is_no_operation() {
    let mut story = Story::default();
    story.write(1);
    let mut plain = story.clone();
    for (f, value) in [("write", json!(2)), ("read", Value::Null), ("kill", json!({ "id": "kill-1" }))] {
        for kind in [Kind::Invoke, Kind::Info, Kind::Ok, Kind::Fail, Kind::Info] {
            story.event(0, kind, f, value.clone());
            story.events.last_mut().unwrap().process = Process::Nemesis;
        }
    }
    for story in [&mut story, &mut plain] {
        story.read(1);
        assert_eq!(story.verdict(Model::Register), PASS);
        assert_eq!(story.judged(&Options::new(Model::Register)).operations, 2);
        story.read(2);
        assert_eq!(story.verdict(Model::Register), VIOLATION);
    }
}

#[test]
fn an_unknown_outcome_says_nothing_about_what_was_seen() {
    for (model, insert, f) in [
        (Model::Register, "write", "read"),
        (Model::FifoQueue, "enqueue", "dequeue"),
        (Model::Stack, "push", "pop"),
        (Model::UnorderedQueue, "enqueue", "dequeue"),
        (Model::Counter, "add", "get-and-increment"),
    ] {
        // Whatever stands in the value of an `info`, nobody returned it.
        for value in [Value::Null, json!(1), json!(9)] {
            let mut story = Story::default();
            story.done(insert, json!(1), Kind::Ok, Value::Null);
            story.done(f, Value::Null, Kind::Info, value.clone());
            assert_eq!(story.verdict(model), PASS, "{model} {value}");
            // It may have taken the element, or not.
            let taken = match model {
                Model::Counter => vec![json!(1), json!(2)],
                Model::Register => vec![json!(1)],
                _ => vec![Value::Null, json!(1)],
            };
            for answer in taken {
                let mut story = story.clone();
                story.done(f, Value::Null, Kind::Ok, answer.clone());
                assert_eq!(story.verdict(model), PASS, "{model} {value} {answer}");
            }
        }
    }
}

/// Writes and reads of a dozen values on one key, all at once: thousands of ways to go on.
fn crowd(story: &mut Story) {
    let first = story.fresh;
    for (place, f) in ["write", "read"].into_iter().enumerate() {
        for value in 0..12 {
            let argument = if f == "write" { json!(100 + value) } else { Value::Null };
            story.event(first + 12 * place as u64 + value, Kind::Invoke, f, argument);
        }
    }
    story.done("write", json!(0), Kind::Ok, json!(0)).read(0);
    for (place, f) in ["write", "read"].into_iter().enumerate() {
        for value in 0..12 {
            story.event(first + 12 * place as u64 + value, Kind::Ok, f, json!(100 + value));
        }
    }
}

#[test]
fn a_budget_that_ran_out_is_unknown_whichever_it_was_and_whoever_searched() {
    let mut story = Story::default();
    crowd(&mut story);
    // Impossible: somebody read what nobody wrote. Neither verdict may come of a budget.
    let mut wrong = story.clone();
    wrong.read(77);
    for (story, verdict) in [(&story, Validity::Pass), (&wrong, Validity::Violation)] {
        for engine in [Engine::JustInTime, Engine::Search] {
            let options = Options { engine, threads: 1, ..Options::new(Model::Register) };
            assert_eq!(story.judged(&options).validity, verdict);
            for (change, said) in [
                (Options { time_budget: Some(Duration::ZERO), ..options.clone() }, "the time budget of 0 s"),
                (Options { memory_budget: Some(0), ..options.clone() }, "the memory budget of 0 MiB"),
            ] {
                let result = story.judged(&change);
                assert_eq!(result.validity, Validity::Unknown, "{engine}");
                let unknown = result.unknown.unwrap();
                assert!(unknown.starts_with(said), "{engine}: {unknown}");
                assert!(result.violations.is_empty());
            }
        }
    }
}

#[test]
fn what_an_engine_is_too_narrow_for_is_unknown_and_another_one_decides_it() {
    let mut story = Story::default();
    for process in 0..17_000 {
        story.event(process, Kind::Invoke, "write", json!(process % 3));
    }
    story.read(1).read(2).read(1);
    for process in 0..17_000 {
        story.event(process, Kind::Ok, "write", json!(process % 3));
    }
    let by = |engine| story.judged(&Options { engine, ..Options::new(Model::Register) });
    let narrow = by(Engine::JustInTime);
    assert_eq!((narrow.validity, narrow.violating_keys), (Validity::Unknown, 0));
    assert!(narrow.unknown.unwrap().starts_with("more operations were open at once"));
    assert_eq!((by(Engine::Auto).validity, by(Engine::Search).validity), (Validity::Pass, Validity::Pass));
}

#[test]
fn what_failed_never_happened() {
    for kind in [Kind::Fail, Kind::Info] {
        for (model, f, seen_by) in [
            (Model::Register, "write", "read"),
            (Model::FifoQueue, "enqueue", "dequeue"),
            (Model::Stack, "push", "pop"),
            (Model::UnorderedQueue, "enqueue", "dequeue"),
        ] {
            let mut story = Story::default();
            story.done(f, json!(7), kind, json!(7));
            story.done(seen_by, Value::Null, Kind::Ok, json!(7));
            let expected = if kind == Kind::Fail { VIOLATION } else { PASS };
            assert_eq!(story.verdict(model), expected, "{model} {kind}");
        }
    }
}

#[test]
fn what_is_undecided_while_the_history_grows_is_no_finding_and_no_pass() {
    let mut story = Story::default();
    crowd(&mut story);
    let mut wrong = story.clone();
    wrong.read(77);
    let enough = Options { engine: Engine::JustInTime, ..Options::new(Model::Register) };
    let no_memory = Options { memory_budget: Some(0), ..enough.clone() };
    let no_time = Options { time_budget: Some(Duration::ZERO), ..enough.clone() };
    let patient = Pace::default();
    let mut hasty = Pace::default();
    hasty.look = Duration::ZERO;
    for (story, right) in [(&story, Validity::Pass), (&wrong, Validity::Violation)] {
        for (options, pace, last) in [
            (&no_memory, &patient, Validity::Unknown),
            (&no_time, &hasty, Validity::Unknown),
            // What no look had the time for is decided in the end.
            (&enough, &hasty, right),
        ] {
            live(options, Builder::new(), pace, |live| {
                story.events.iter().for_each(|event| live.event(event).unwrap());
                assert_eq!(live.look(Duration::from_secs(1)), []);
                let summary = live.finish().unwrap();
                assert_eq!(summary.validity, last);
                assert_eq!(summary.violating.len(), usize::from(last == Validity::Violation));
                assert_eq!(summary.unknown.len(), usize::from(last == Validity::Unknown));
            });
        }
    }
}

#[test]
fn no_way_on_from_a_dropped_past_that_is_undecided_is_taken_for_none() {
    // Two ways in which the past can have ended; then an element comes twice, which the polynomial engine cannot decide.
    let mut story = Story::default();
    for (kind, one, other) in [(Kind::Invoke, json!(1), json!(2)), (Kind::Ok, json!(1), json!(2))] {
        story.event(0, kind, "enqueue", one).event(1, kind, "enqueue", other);
    }
    let past = story.events.len();
    for _ in 0..2 {
        story.done("enqueue", json!(5), Kind::Ok, json!(5));
    }
    story.done("dequeue", Value::Null, Kind::Ok, json!(1));
    let options = Options { engine: Engine::Special, ..Options::new(Model::FifoQueue) };
    let mut pace = Pace::default();
    pace.patience = Duration::ZERO;
    live(&options, Builder::new(), &pace, |live| {
        story.events[..past].iter().for_each(|event| live.event(event).unwrap());
        assert_eq!((live.look(Duration::from_secs(1)), live.kept()), (Vec::new(), 0));
        story.events[past..].iter().for_each(|event| live.event(event).unwrap());
        assert_eq!(live.look(Duration::from_secs(2)), []);
        let summary = live.finish().unwrap();
        assert_eq!((summary.validity, summary.violating), (Validity::Unknown, Vec::new()));
    });
}

#[test]
fn nothing_is_found_in_a_history_that_cannot_be_judged() {
    // The operation that does not fit was done on another key, or is still open on the same one, where it may have written.
    for (key, kind) in [("b", Some(Kind::Ok)), ("a", None)] {
        let mut story = Story::default();
        story.on(Some(json!("a"))).write(1);
        story.on(Some(json!(key))).event(90, Kind::Invoke, "jump", json!(2));
        if let Some(kind) = kind {
            story.event(90, kind, "jump", json!(2));
        }
        story.on(Some(json!("a"))).read(2);
        let options = Options::new(Model::Register);
        live(&options, Builder::new(), &Pace::default(), |live| {
            story.events.iter().for_each(|event| live.event(event).unwrap());
            assert_eq!(live.look(Duration::from_secs(1)), []);
            assert_eq!(live.finish().err(), check(&story.table(), &options).err());
            assert!(live.finish().is_err());
        });
    }
}

#[test]
fn the_memory_is_for_all_threads_together() {
    let mut story = Story::default();
    crowd(&mut story);
    story.read(77);
    let with = |threads, bytes| {
        let memory_budget = Some(bytes);
        let engine = Engine::JustInTime;
        story.judged(&Options { engine, threads, memory_budget, ..Options::new(Model::Register) }).validity
    };
    let enough =
        (10..40).map(|power| 1 << power).find(|bytes| with(1, *bytes) == Validity::Violation).unwrap();
    assert_eq!(with(16, enough), Validity::Unknown);
    assert_eq!(with(16, 16 * enough), Validity::Violation);
}

#[test]
fn every_model_with_registers_begins_with_the_initial_value() {
    for model in [Model::Register, Model::CasRegister, Model::MultiRegister] {
        for (initial, seen, verdict) in [
            (json!(4), json!(4), PASS),
            (json!(4), json!(5), VIOLATION),
            (json!("4"), json!(4), VIOLATION),
            (Value::Null, json!(4), VIOLATION),
        ] {
            let mut story = Story::default();
            match model {
                Model::MultiRegister => {
                    story.done("read", json!(["x"]), Kind::Ok, json!({ "x": seen }));
                    story.done("txn", json!([["r", "y", null]]), Kind::Ok, json!([["r", "y", seen]]))
                }
                _ => story.read(seen.clone()).read(seen.clone()),
            };
            let mut table = story.table();
            let initial = table.values.json(&initial).unwrap();
            for engine in [Engine::Auto, Engine::Search, Engine::JustInTime, Engine::Special] {
                let result = check(&table, &Options { engine, initial, ..Options::new(model) }).unwrap();
                let unsuited =
                    model == Model::MultiRegister && !matches!(engine, Engine::Auto | Engine::Search);
                let expected = if unsuited { (Validity::Unknown, 0) } else { verdict };
                assert_eq!((result.validity, result.violating_keys), expected, "{model} {engine} {seen}");
            }
        }
    }
    for (initial, seen, verdict) in [
        (json!(""), json!(""), PASS),
        (Value::Null, Value::Null, PASS),
        (Value::Null, json!(""), VIOLATION),
        (json!(""), Value::Null, VIOLATION),
    ] {
        let mut story = Story::default();
        story.on(Some(json!("k"))).done("get", Value::Null, Kind::Ok, seen.clone());
        let mut table = story.table();
        let initial = table.values.json(&initial).unwrap();
        for engine in [Engine::Auto, Engine::Search] {
            let result =
                check(&table, &Options { engine, initial, ..Options::new(Model::KeyValue) }).unwrap();
            assert_eq!((result.validity, result.violating_keys), verdict, "{seen}");
        }
    }
}
