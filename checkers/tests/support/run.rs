//! Long linearizable histories, as a run of the harness records them.

use std::borrow::Cow;

use schism_history::{Event, Kind, Process, Random};
use serde_json::{Map, Value, json};

/// What a worker has open: the operation, and what it did once it did it.
type Open = (&'static str, Value, Option<Result<Value, ()>>);

/// A linearizable run: `workers` at once on one key for `per_key` operations, then on the next. One operation in a hundred
/// has an unknown outcome, and some of those take effect much later. Values are distinct.
pub fn run(seed: u64, operations: u64, workers: u64, per_key: u64) -> Vec<Event> {
    let mut random = Random::new(seed, "run");
    let mut events: Vec<Event> = Vec::new();
    let mut process: Vec<u64> = (0..workers).collect();
    let mut fresh = workers;
    let mut key = 0;
    let mut written = 0_u64;
    let mut state = Value::Null;
    let mut open: Vec<Option<Open>> = vec![None; workers as usize];
    let mut crashed: Vec<(u64, &'static str, Value)> = Vec::new();
    let mut started = 0;
    let mut push = |process: u64, kind, f: &'static str, key: u64, value: Value| {
        let index = events.len() as u64;
        events.push(Event {
            index,
            time: index * 500_000,
            process: Process::Client(process),
            kind,
            f: Cow::Borrowed(f),
            key: Some(json!(key)),
            value,
            node: Some(format!("n{}", process % 5 + 1).into()),
            error: None,
            extra: Map::new(),
        });
    };
    let apply = |f: &str, value: &Value, state: &mut Value| match f {
        "read" => Ok(state.clone()),
        "cas" if value[0] != *state => Err(()),
        "cas" => {
            *state = value[1].clone();
            Ok(value.clone())
        }
        _ => {
            *state = value.clone();
            Ok(value.clone())
        }
    };
    while started < operations || open.iter().any(Option::is_some) {
        let worker = random.below(workers) as usize;
        match open[worker].take() {
            None if started < operations
                && (started / per_key == key || open.iter().all(Option::is_none)) =>
            {
                if started / per_key != key {
                    key = started / per_key;
                    state = Value::Null;
                    crashed.clear();
                }
                started += 1;
                written += 1;
                let (f, value) = match random.below(3) {
                    0 => ("read", Value::Null),
                    1 => ("write", json!(written)),
                    _ => ("cas", json!([state, written])),
                };
                push(process[worker], Kind::Invoke, f, key, value.clone());
                open[worker] = Some((f, value, None));
            }
            None => {}
            Some((f, value, None)) if random.below(100) == 0 => {
                push(process[worker], Kind::Info, f, key, value.clone());
                crashed.push((key, f, value));
                process[worker] = fresh;
                fresh += 1;
            }
            Some((f, value, None)) => {
                if random.below(40) == 0
                    && let Some((_, f, value)) = crashed.pop()
                {
                    let _ = apply(f, &value, &mut state);
                }
                let effect = apply(f, &value, &mut state);
                open[worker] = Some((f, value, Some(effect)));
            }
            Some((f, value, Some(effect))) => {
                let (kind, value) = match effect {
                    Ok(result) => (Kind::Ok, result),
                    Err(()) => (Kind::Fail, value),
                };
                push(process[worker], kind, f, key, value);
            }
        }
    }
    events
}
