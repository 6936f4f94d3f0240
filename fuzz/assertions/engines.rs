//! What must hold whatever history the engines are given. The fuzz target asserts it, and `checkers/tests/corpus.rs` for every seed.

#[path = "objects.rs"]
mod objects;

use arbitrary::{Result, Unstructured};
use schism_checkers::linearizable::{CheckError, Engine, Model, Options, check, witness};
use schism_checkers::{CheckResult, Validity};
use schism_history::{Builder, Event, Kind, Process, Record, Table, ValueId, pair};
use serde_json::Value;

use objects::{Object, Request};

/// Few enough that the general search decides every history without a budget.
const MOST: usize = 14;

/// A history, and what is known about it.
struct Case {
    model: Model,
    initial: Option<i64>,
    events: Vec<Event>,
    /// Every operation took effect at one moment between its invocation and its completion, or never and said so.
    honest: bool,
}

/// Asserts that all engines agree about the history that the bytes stand for, and that what they show is so. Returns the model, and
/// the verdict unless the history was refused.
pub fn agree(bytes: &[u8]) -> (Model, Option<Validity>) {
    // Never fails: where the bytes end there are zeros.
    let case = case(&mut Unstructured::new(bytes)).unwrap_or_else(|error| panic!("{error}"));
    let table = table(&case.events);
    let options = options(&case, &table, Engine::Auto);
    let auto = check(&table, &options);
    for engine in Engine::ALL {
        let other = check(&table, &Options { engine, ..options.clone() });
        assert_same(&auto, &other, engine, &case);
    }
    let Ok(result) = auto else {
        assert!(!case.honest, "refused: {:?}\n{}", auto.err(), show(&case.events));
        return (case.model, None);
    };
    if case.honest {
        assert_eq!(result.validity, Validity::Pass, "{result:#?}\n{}", show(&case.events));
    }
    for violation in &result.violations {
        let alone = only(&case.events, &violation.operations);
        let alone = table_of(&alone);
        for engine in [Engine::Auto, Engine::Search] {
            let again = check(&alone, &Options { engine, ..options.clone() });
            let again = again.map(|result| result.validity);
            assert_eq!(again, Ok(Validity::Violation), "{engine} of {violation:#?}\n{}", show(&case.events));
        }
    }
    let orders = witness(&table, &options).unwrap_or_default();
    assert_eq!(orders.len(), result.keys, "{}", show(&case.events));
    let missing = orders.iter().filter(|witness| witness.order.is_err()).count();
    assert_eq!(missing, result.violating_keys, "{orders:?}\n{}", show(&case.events));
    (case.model, Some(result.validity))
}

fn assert_same(
    auto: &std::result::Result<CheckResult, CheckError>,
    other: &std::result::Result<CheckResult, CheckError>,
    engine: Engine,
    case: &Case,
) {
    let shown = || format!("{} by {engine}\n{}", case.model, show(&case.events));
    match (auto, other) {
        (Ok(auto), Ok(other)) => {
            // Without a budget only an engine that does not know the object may give up.
            let may_be_unknown = matches!(engine, Engine::Special | Engine::JustInTime);
            assert_ne!(auto.validity, Validity::Unknown, "auto: {:?} {}", auto.unknown, shown());
            assert!(may_be_unknown || other.unknown.is_none(), "{:?} {}", other.unknown, shown());
            if other.unknown.is_none() {
                let verdict = |result: &CheckResult| (result.validity, result.violating_keys);
                assert_eq!(verdict(auto), verdict(other), "{}", shown());
            } else {
                assert!(other.violating_keys <= auto.violating_keys, "{}", shown());
            }
        }
        (auto, other) => {
            let (auto, other) = (auto.as_ref().map(|_| ()), other.as_ref().map(|_| ()));
            assert_eq!(auto, other, "{}", shown());
        }
    }
}

fn options(case: &Case, table: &Table, engine: Engine) -> Options {
    // A small integer has the same number in every table.
    let initial = case.initial.and_then(|initial| table.values.clone().int(initial).ok());
    Options {
        engine,
        initial: initial.unwrap_or(ValueId::NULL),
        time_budget: None,
        memory_budget: None,
        threads: 1,
        ..Options::new(case.model)
    }
}

/// As a reader makes it.
fn table(events: &[Event]) -> Table {
    let mut builder = Builder::new();
    for event in events {
        let mut number = |value: &Value| builder.values().json(value).unwrap_or(ValueId::ABSENT);
        let (key, value) = (event.key.as_ref().map_or(ValueId::ABSENT, &mut number), number(&event.value));
        let record = Record {
            process: event.process,
            kind: event.kind,
            f: &event.f,
            key,
            value,
            time: Some(event.time),
            index: Some(event.index),
            node: event.node.as_deref(),
            error: ValueId::ABSENT,
        };
        if let Err(error) = builder.push(&record) {
            panic!("{error}\n{}", show(events));
        }
    }
    builder.finish()
}

fn table_of(events: &[Event]) -> Table {
    Table::from_events(events).unwrap_or_else(|error| panic!("{error}\n{}", show(events)))
}

/// The events of the operations whose invocations have these indices.
fn only(events: &[Event], invocations: &[u64]) -> Vec<Event> {
    let operations = pair(events).unwrap_or_default();
    let mut kept: Vec<Event> = operations
        .iter()
        .filter(|operation| invocations.contains(&operation.invocation.index))
        .flat_map(|operation| std::iter::once(operation.invocation).chain(operation.completion))
        .cloned()
        .collect();
    assert!(!kept.is_empty(), "{invocations:?} are no operations\n{}", show(events));
    kept.sort_by_key(|event| event.index);
    kept
}

fn show(events: &[Event]) -> String {
    events.iter().filter_map(|event| serde_json::to_string(event).ok()).map(|line| line + "\n").collect()
}

/// An operation that is open, or whose outcome nobody was told.
struct Open {
    process: u64,
    object: usize,
    request: Request,
    /// Once it took effect: what it returned, or that it was refused.
    effect: Option<std::result::Result<Value, ()>>,
}

/// The history that the bytes stand for: one byte for the model, two for the shape, then two for every step.
fn case(bytes: &mut Unstructured<'_>) -> Result<Case> {
    let model = Model::ALL[usize::from(bytes.arbitrary::<u8>()?) % Model::ALL.len()];
    let [shape, style] = bytes.arbitrary::<[u8; 2]>()?;
    let processes = 1 + usize::from(shape % 5);
    let objects = if shape & 0x40 == 0 { 1 } else { 2 };
    let keyed = shape & 0x80 != 0 || objects > 1;
    let registers = matches!(model, Model::Register | Model::CasRegister | Model::MultiRegister);
    let initial = (style & 1 != 0 && registers).then_some(1);
    let mut objects: Vec<Object> = (0..objects).map(|_| Object::new(model, initial, style, keyed)).collect();
    let mut case = Case { model, initial, events: Vec::new(), honest: true };
    let mut open: Vec<Option<Open>> = (0..processes).map(|_| None).collect();
    let mut numbers: Vec<u64> = (0..processes as u64).collect();
    let mut fresh = processes as u64;
    let mut crashed: Vec<Open> = Vec::new();
    let mut started = 0;
    while !bytes.is_empty() {
        let [what, how] = bytes.arbitrary::<[u8; 2]>()?;
        let worker = usize::from(what >> 3) % processes;
        let Some(mut current) = open[worker].take() else {
            // Now and then an operation that crashed takes effect after all.
            if what & 7 == 7 {
                let late = usize::from(how) % crashed.len().max(1);
                if let Some(late) = crashed.get_mut(late) {
                    take_effect(late, &mut objects, how);
                }
            } else if started < MOST {
                started += 1;
                let object = usize::from(what >> 7) % objects.len();
                let request = objects[object].request(how, numbers[worker]);
                let current = Open { process: numbers[worker], object, request, effect: None };
                push(&mut case.events, &current, Kind::Invoke, current.request.argument.clone(), keyed);
                open[worker] = Some(current);
            }
            continue;
        };
        match what & 7 {
            0 | 1 => {
                take_effect(&mut current, &mut objects, how);
                open[worker] = Some(current);
            }
            2 => {
                push(&mut case.events, &current, Kind::Info, current.request.argument.clone(), keyed);
                numbers[worker] = fresh;
                fresh += 1;
                crashed.push(current);
            }
            lie => {
                take_effect(&mut current, &mut objects, how);
                let mut effect = current.effect.clone().unwrap_or(Err(()));
                if lie == 3 {
                    let told = objects[current.object].lie(&current.request, effect.clone(), how);
                    case.honest &= told == effect;
                    effect = told;
                }
                match effect {
                    Ok(result) => push(&mut case.events, &current, Kind::Ok, result, keyed),
                    Err(()) => {
                        let argument = current.request.argument.clone();
                        push(&mut case.events, &current, Kind::Fail, argument, keyed);
                    }
                }
            }
        }
    }
    Ok(case)
}

fn take_effect(open: &mut Open, objects: &mut [Object], how: u8) {
    if open.effect.is_none() {
        open.effect = Some(objects[open.object].perform(&open.request, open.process, how));
    }
}

fn push(events: &mut Vec<Event>, open: &Open, kind: Kind, value: Value, keyed: bool) {
    let index = events.len() as u64;
    events.push(Event {
        index,
        time: (index + 1) * 1_000_000,
        process: Process::Client(open.process),
        kind,
        f: open.request.f.into(),
        key: keyed.then(|| Value::from(open.object)),
        value,
        node: None,
        error: None,
        extra: serde_json::Map::new(),
    });
}
