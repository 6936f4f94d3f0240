//! What is found while the history grows, against the check of the whole.

use std::collections::HashSet;
use std::time::Duration;

use schism_history::{Builder, Event, Kind, Process, Random, Table};
use serde_json::{Map, Value, json};

use super::super::{Engine, Model, Options, check};
use super::{Pace, Sabotage, Summary, live};
use crate::{CheckResult, Validity};

fn event(
    events: &mut Vec<Event>,
    process: u64,
    kind: Kind,
    f: &'static str,
    key: Option<Value>,
    value: Value,
) {
    let index = events.len() as u64;
    let (node, error, extra) = (None, None, Map::new());
    let process = Process::Client(process);
    events.push(Event {
        index,
        time: index * 1000,
        process,
        kind,
        f: f.into(),
        key,
        value,
        node,
        error,
        extra,
    });
}

/// A request to an object of the model. In long histories all elements of queues are `distinct`, since the search would
/// never come to an end.
fn request(model: Model, random: &mut Random, fresh: u64, distinct: bool) -> (&'static str, Value) {
    let few = 1 + random.below(3);
    let half = random.below(2) == 0;
    match model {
        Model::CasRegister => match random.below(4) {
            0 => ("cas", json!([few, 1 + random.below(3)])),
            1 | 2 => ("read", Value::Null),
            _ => ("write", json!(few)),
        },
        Model::Mutex => (if half { "acquire" } else { "release" }, Value::Null),
        Model::Counter => {
            if half {
                ("add", json!(few))
            } else {
                ("read", Value::Null)
            }
        }
        Model::Set => match random.below(3) {
            0 => ("add", json!(few)),
            1 => ("remove", json!(few)),
            _ => ("read", Value::Null),
        },
        Model::FifoQueue | Model::UnorderedQueue => {
            let value = if random.below(3) == 0 && !distinct { few } else { fresh };
            if half { ("enqueue", json!(value)) } else { ("dequeue", Value::Null) }
        }
        Model::Stack => {
            if half {
                ("push", json!(fresh))
            } else {
                ("pop", Value::Null)
            }
        }
        Model::Log => {
            if half {
                ("append", json!(fresh))
            } else {
                ("read", Value::Null)
            }
        }
        Model::KeyValue => match random.below(8) {
            0 => ("append", json!("a")),
            1 => ("delete", Value::Null),
            2 | 3 => ("put", json!(format!("{few}"))),
            _ => ("get", Value::Null),
        },
        _ => {
            let half = random.below(3) == 0;
            let name = if random.below(2) == 0 { "x" } else { "y" };
            let value = if half { json!(few) } else { Value::Null };
            ("txn", json!([[if half { "w" } else { "r" }, name, value]]))
        }
    }
}

/// Carries it out: the result, or `None` if it is refused.
fn perform(
    f: &str,
    argument: &Value,
    state: &mut Value,
    empty: &Value,
    random: &mut Random,
) -> Option<Value> {
    let list = |state: &mut Value| state.as_array().cloned().unwrap_or_default();
    match f {
        "read" if state.is_null() && empty.is_array() => return Some(json!([])),
        "read" if state.is_null() && empty.is_i64() => return Some(json!(0)),
        "read" => return Some(state.clone()),
        "get" => return Some(if state.is_null() { empty.clone() } else { state.clone() }),
        "write" | "put" => *state = argument.clone(),
        "delete" => *state = Value::Null,
        "cas" if *state != argument[0] => return None,
        "cas" => *state = argument[1].clone(),
        "acquire" | "release" => {
            let held = *state == json!(true);
            if held == (f == "acquire") {
                return None;
            }
            *state = json!(!held);
        }
        "append" if argument.is_string() => {
            *state = json!(format!("{}a", state.as_str().unwrap_or_default()));
        }
        "add" if empty.is_i64() => *state = json!(state.as_i64().unwrap_or(0) + argument.as_i64().unwrap()),
        "add" | "remove" => {
            let mut items = list(state);
            items.retain(|item| item != argument);
            if f == "add" {
                items.push(argument.clone());
            }
            *state = Value::Array(items);
        }
        "enqueue" | "push" | "append" => {
            let mut items = list(state);
            items.push(argument.clone());
            *state = Value::Array(items);
        }
        "dequeue" | "pop" => {
            let mut items = list(state);
            if items.is_empty() {
                return None;
            }
            let any = random.below(items.len() as u64) as usize;
            let place = if f == "pop" {
                items.len() - 1
            } else if *empty == "bag" {
                any
            } else {
                0
            };
            let item = items.remove(place);
            *state = Value::Array(items);
            return Some(item);
        }
        "txn" => {
            let [kind, name, value] = [0, 1, 2].map(|at| argument[0][at].clone());
            if !state.is_object() {
                *state = json!({});
            }
            let name = name.as_str().unwrap().to_owned();
            if kind == "w" {
                state[name] = value;
                return Some(argument.clone());
            }
            let seen = state.get(&name).cloned().unwrap_or(Value::Null);
            return Some(json!([["r", name, seen]]));
        }
        other => panic!("{other}"),
    }
    Some(argument.clone())
}

struct Doing {
    process: u64,
    f: &'static str,
    key: Option<Value>,
    argument: Value,
    effect: Option<Option<Value>>,
}

/// A history of some objects, with pauses in which nothing is open, crashes, and a lie now and then.
/// With it comes the value that objects have at first.
fn history(model: Model, random: &mut Random, operations: u64) -> (Value, Vec<Event>) {
    let keys = 1 + random.below(3);
    let workers = 1 + random.below(4);
    let (crash, lie) = ([0, 5, 20][random.below(3) as usize], [0, 0, 4, 10][random.below(4) as usize]);
    let empty = match model {
        Model::Counter => json!(0),
        Model::Set | Model::Log => json!([]),
        Model::UnorderedQueue => json!("bag"),
        Model::KeyValue if random.below(2) == 0 => json!(""),
        _ => Value::Null,
    };
    let initial = match model {
        Model::CasRegister if random.below(2) == 0 => json!(1),
        Model::KeyValue => empty.clone(),
        _ => Value::Null,
    };
    let at_first = if model == Model::CasRegister { initial.clone() } else { Value::Null };
    let mut states = vec![at_first; keys as usize];
    let mut seen: Vec<Value> = Vec::new();
    let (mut events, mut doing, mut crashed): (Vec<Event>, Vec<Doing>, Vec<Doing>) = Default::default();
    let mut free: Vec<u64> = (0..workers).collect();
    let (mut fresh, mut left, mut pause) = (workers, operations, false);
    while left > 0 || !doing.is_empty() {
        pause = if doing.is_empty() { false } else { pause || random.below(12) == 0 };
        if left > 0 && !free.is_empty() && (doing.is_empty() || (!pause && random.below(3) == 0)) {
            left -= 1;
            let process = free.swap_remove(random.below(free.len() as u64) as usize);
            let key = random.below(keys);
            let (f, argument) = request(model, random, 100 + left, operations > 40);
            let key = (keys > 1 || model == Model::KeyValue).then(|| json!(key));
            event(&mut events, process, Kind::Invoke, f, key.clone(), argument.clone());
            doing.push(Doing { process, f, key, argument, effect: None });
            continue;
        }
        if !crashed.is_empty() && random.below(8) == 0 {
            let late = crashed.swap_remove(random.below(crashed.len() as u64) as usize);
            let state = &mut states[late.key.as_ref().map_or(0, |key| key.as_u64().unwrap() as usize)];
            perform(late.f, &late.argument, state, &empty, random);
        }
        if doing.is_empty() {
            continue;
        }
        let at = random.below(doing.len() as u64) as usize;
        let now = &mut doing[at];
        if now.effect.is_none() && random.below(100) >= crash {
            let state = &mut states[now.key.as_ref().map_or(0, |key| key.as_u64().unwrap() as usize)];
            now.effect = Some(perform(now.f, &now.argument, state, &empty, random));
            continue;
        }
        let Doing { process, f, key, argument, effect } = doing.swap_remove(at);
        match effect {
            None => {
                event(&mut events, process, Kind::Info, f, key.clone(), argument.clone());
                crashed.push(Doing { process, f, key, argument, effect });
                free.push(fresh);
                fresh += 1;
                continue;
            }
            // A lock that is given to two, and a refusal that nobody noticed.
            Some(None) if model == Model::Mutex && random.below(100) < lie => {
                event(&mut events, process, Kind::Ok, f, key, argument);
            }
            Some(None) => event(&mut events, process, Kind::Fail, f, key, argument),
            Some(Some(mut result)) => {
                if result != argument && !seen.is_empty() && random.below(100) < lie {
                    result = random.pick(&seen).unwrap().clone();
                } else if result != argument {
                    seen.push(result.clone());
                }
                event(&mut events, process, Kind::Ok, f, key, result);
            }
        }
        free.push(process);
    }
    // Cut short, so that some are open at the end.
    if random.below(4) == 0 {
        events.truncate(random.below(events.len() as u64 + 1) as usize);
    }
    (initial, events)
}

/// A little memory, so that what no search can decide is given up soon, and at the same place on every machine.
fn options(model: Model) -> Options {
    Options { threads: 1, memory_budget: Some(32 << 20), ..Options::new(model) }
}

/// A pace at which pasts are dropped early and often, or never.
fn pace(random: &mut Random, sabotage: Sabotage) -> Pace {
    Pace {
        patience: [Duration::ZERO, Duration::from_secs(3)][random.below(2) as usize],
        keep: [0, 10, usize::MAX][random.below(3) as usize],
        visits: [1, 4, 1000][random.below(3) as usize],
        recheck: [Duration::ZERO, Duration::from_secs(2)][random.below(2) as usize],
        // A machine under load must not decide what is tested.
        look: Duration::from_secs(100),
        sabotage,
    }
}

/// Whether everything that was found while the history grew, and the final answer, are those of the check of the whole.
fn agrees(
    (initial, events): &(Value, Vec<Event>),
    options: Options,
    pace: &Pace,
    random: &mut Random,
    dropped: &mut usize,
) -> Result<Result<CheckResult, String>, String> {
    let builder = || {
        let mut builder = Builder::new();
        let initial = builder.values().json(initial).unwrap();
        (builder, Options { initial, ..options.clone() })
    };
    let (mut table, of_table) = builder();
    events.iter().for_each(|event| table.event(event).unwrap());
    let whole = check(&table.finish(), &of_table);
    let (table, of_table) = builder();
    let (found, summary) = live(&of_table, table, pace, |live| {
        let mut found = Vec::new();
        let mut completed = 0;
        for (at, event) in events.iter().enumerate() {
            live.event(event).unwrap();
            completed += usize::from(event.kind == Kind::Ok);
            if random.below(6) == 0 {
                found.extend(live.look(Duration::from_secs(at as u64)));
                assert!(found.iter().all(|finding| finding.index <= event.index));
            }
        }
        let summary = live.finish();
        *dropped += completed.saturating_sub(live.kept());
        (found, summary)
    });
    let (whole, summary) = match (whole, summary) {
        (Ok(whole), Ok(summary)) => (whole, summary),
        (Err(one), Err(other)) if one == other => return Ok(Err(one.to_string())),
        (one, other) => return Err(format!("{one:?}, but {other:?}")),
    };
    let Summary { validity, violating, unknown } = summary;
    if whole.validity == Validity::Unknown {
        return Ok(Ok(whole));
    }
    let name = |finding: &super::Finding| format!("{:?} {:?}", finding.key, finding.part);
    let names: HashSet<String> = violating.iter().map(name).collect();
    let keys: HashSet<String> = violating.iter().map(|finding| format!("{:?}", finding.key)).collect();
    let same = validity == whole.validity
        && unknown.is_empty() == whole.unknown.is_none()
        && violating.len() == whole.violating_keys
        && whole.violations.iter().all(|violation| keys.contains(&format!("{:?}", violation.key)))
        && found.iter().all(|finding| names.contains(&name(finding)))
        && found.iter().map(name).collect::<HashSet<_>>().len() == found.len();
    if !same {
        return Err(format!("{whole:#?}\nbut {validity:?} {violating:?} {unknown:?}, on the way {found:?}"));
    }
    Ok(Ok(whole))
}

fn the_final_answer_is_that_of_the_whole(model: Model) {
    let mut random = Random::new(1, model.name());
    let (mut passes, mut violations, mut unknown, mut dropped) = (0, 0, 0, 0);
    for round in 0..1500 {
        let operations = if round % 10 == 0 { 120 } else { 30 };
        let history = history(model, &mut random, operations);
        let engine = [Engine::Auto, Engine::Search][round % 2];
        let options = Options { engine, ..options(model) };
        let pace = pace(&mut random, Sabotage::None);
        match agrees(&history, options, &pace, &mut random, &mut dropped) {
            Ok(Ok(whole)) => match whole.validity {
                Validity::Pass => passes += 1,
                Validity::Violation => violations += 1,
                Validity::Unknown => unknown += 1,
            },
            Ok(Err(_)) => {}
            Err(why) => panic!("{model}, round {round}, {pace:?}: {why}\n{history:#?}"),
        }
    }
    println!(
        "{model}: {passes} pass, {violations} do not, {unknown} are unknown; {dropped} calls were dropped"
    );
    assert!(passes > 100 && violations > 50, "{model}: both must be common: {passes} and {violations}");
    assert!(unknown < 15, "{model}: {unknown} are unknown, and say nothing");
    assert!(dropped > 5000, "{model}: only {dropped} calls were dropped");
}

/// A test for each model, so that they run beside each other.
macro_rules! of_each_model {
    ($($name:ident: $model:ident,)+) => {
        $(
            #[test]
            fn $name() {
                the_final_answer_is_that_of_the_whole(Model::$model);
            }
        )+
        const MODELS: [Model; [$(Model::$model),+].len()] = [$(Model::$model),+];
    };
}

of_each_model! {
    the_final_answer_about_a_register: CasRegister,
    the_final_answer_about_a_mutex: Mutex,
    the_final_answer_about_a_counter: Counter,
    the_final_answer_about_a_set: Set,
    the_final_answer_about_a_queue: FifoQueue,
    the_final_answer_about_an_unordered_queue: UnorderedQueue,
    the_final_answer_about_a_stack: Stack,
    the_final_answer_about_a_log: Log,
    the_final_answer_about_a_map: KeyValue,
    the_final_answer_about_a_multi_register: MultiRegister,
}

#[test]
fn mistakes_are_noticed() {
    use Sabotage::{DropsCrashed, FirstStateOnly, ForgetsPending, ForgetsUsed};
    for mistake in [DropsCrashed, FirstStateOnly, ForgetsPending, ForgetsUsed] {
        let noticed = MODELS.into_iter().any(|model| {
            let mut random = Random::new(2, model.name());
            (0..1500).any(|_| {
                let history = history(model, &mut random, 40);
                let pace = pace(&mut random, mistake);
                agrees(&history, options(model), &pace, &mut random, &mut 0).is_err()
            })
        });
        assert!(noticed, "nobody notices {mistake:?}");
    }
}

/// A text that is appended again, after the key was deleted, is there again.
#[test]
fn equal_appends_can_take_the_same_place_after_a_reset() {
    for reset in [("delete", Value::Null), ("put", json!("b"))] {
        let mut events = Vec::new();
        let prefix = if reset.0 == "put" { "b" } else { "" };
        for _ in 0..2 {
            let read = ("get", json!(format!("{prefix}a")));
            for (f, value) in [reset.clone(), ("append", json!("a")), read] {
                let argument = if f == "get" { Value::Null } else { value.clone() };
                event(&mut events, 0, Kind::Invoke, f, Some(json!("k")), argument);
                event(&mut events, 0, Kind::Ok, f, Some(json!("k")), value);
            }
        }
        let table = Table::from_events(&events).unwrap();
        for engine in [Engine::Auto, Engine::Search, Engine::JustInTime] {
            let options = Options { engine, ..options(Model::KeyValue) };
            assert_eq!(check(&table, &options).unwrap().validity, Validity::Pass, "{engine}");
        }
    }
}

#[test]
fn what_does_not_fit_the_model_is_said_and_ends_the_judging() {
    let mut events = Vec::new();
    event(&mut events, 0, Kind::Invoke, "read", None, Value::Null);
    event(&mut events, 0, Kind::Ok, "read", None, json!(7));
    event(&mut events, 1, Kind::Invoke, "jump", None, Value::Null);
    event(&mut events, 2, Kind::Invoke, "hop", None, Value::Null);
    let options = options(Model::CasRegister);
    live(&options, Builder::new(), &Pace::default(), |live| {
        for (length, event) in events.iter().enumerate() {
            live.event(event).unwrap();
            let whole = check(&Table::from_events(&events[..=length]).unwrap(), &options);
            assert_eq!(live.finish().err(), whole.err());
        }
        // What was refused has constrained nothing.
        let mut refused = events.clone();
        event(&mut refused, 1, Kind::Fail, "jump", None, Value::Null);
        event(&mut refused, 2, Kind::Fail, "hop", None, Value::Null);
        live.event(&refused[4]).unwrap();
        assert!(live.finish().unwrap_err().to_string().contains("hop"));
        live.event(&refused[5]).unwrap();
        assert_eq!(live.finish().unwrap().validity, Validity::Violation);
    });
}

/// One worker writes `1, 2, …` and reads each back; then comes a read of what was overwritten.
fn stale(rounds: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for round in 1..=rounds {
        for (f, argument, result) in
            [("write", json!(round), json!(round)), ("read", Value::Null, json!(round))]
        {
            event(&mut events, 0, Kind::Invoke, f, Some(json!("k")), argument);
            event(&mut events, 0, Kind::Ok, f, Some(json!("k")), result);
        }
    }
    event(&mut events, 0, Kind::Invoke, "read", Some(json!("k")), Value::Null);
    event(&mut events, 0, Kind::Ok, "read", Some(json!("k")), json!(rounds / 2));
    events
}

#[test]
fn a_quiet_object_is_found_out_at_the_next_look() {
    for patience in [Duration::ZERO, Duration::from_secs(1000)] {
        let pace = Pace { patience, ..Pace::default() };
        let events = stale(300);
        live(&options(Model::Register), Builder::new(), &pace, |live| {
            for event in &events[..events.len() - 2] {
                live.event(event).unwrap();
                if event.index % 100 == 99 {
                    assert_eq!(live.look(Duration::from_secs(event.index)), []);
                }
            }
            live.event(&events[1200]).unwrap();
            assert_eq!(live.look(Duration::from_secs(1200)), []);
            live.event(&events[1201]).unwrap();
            let found = live.look(Duration::from_secs(1210));
            assert_eq!(found.len(), 1);
            assert_eq!((&found[0].key, found[0].index), (&Some(json!("k")), 1201));
            assert_eq!(
                found[0].to_string(),
                "no order of the operations of key \"k\" up to event 1201 fits the model `register`"
            );
            assert_eq!(live.look(Duration::from_secs(1300)), [], "it is said once");
            assert_eq!(live.kept(), 0, "nothing is kept of what is known");
        });
    }
}

#[test]
fn an_object_that_never_becomes_quiet_is_found_out_too() {
    let mut events = Vec::new();
    event(&mut events, 9, Kind::Invoke, "write", Some(json!("k")), json!(-1));
    let stale = stale(300).into_iter().map(|event| Event { index: event.index + 1, ..event });
    events.extend(stale);
    live(&options(Model::Register), Builder::new(), &Pace::default(), |live| {
        for event in &events {
            live.event(event).unwrap();
        }
        let found = live.look(Duration::from_secs(1));
        assert_eq!(found.iter().map(|finding| finding.index).collect::<Vec<_>>(), [1202]);
    });
}

#[test]
fn the_numbers_of_other_histories_are_kept() {
    let mut events = stale(10);
    events.iter_mut().for_each(|event| event.index = event.index * 3 + 5);
    live(&options(Model::Register), Builder::new(), &Pace::default(), |live| {
        events.iter().for_each(|event| live.event(event).unwrap());
        assert_eq!(live.look(Duration::ZERO)[0].index, 41 * 3 + 5);
    });
}

#[test]
fn objects_that_are_left_alone_take_no_calls() {
    let pace = Pace { patience: Duration::from_secs(1), ..Pace::default() };
    let (keys, per_key) = (300_u64, 50);
    live(&options(Model::Register), Builder::new(), &pace, |live| {
        let mut most = 0;
        let mut events = Vec::new();
        for key in 0..keys {
            for value in 0..per_key {
                for kind in [Kind::Invoke, Kind::Ok] {
                    event(&mut events, 0, kind, "write", Some(json!(key)), json!(value));
                    live.event(&events[events.len() - 1]).unwrap();
                }
            }
            assert_eq!(live.look(Duration::from_secs(key)), []);
            most = most.max(live.kept());
        }
        assert!(most <= 3 * per_key as usize, "{most} calls were kept");
        assert_eq!(live.finish().unwrap().validity, Validity::Pass);
    });
}
