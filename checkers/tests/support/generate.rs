//! Small random histories: most are nearly linearizable, which is where a checker can be wrong in either direction.

use std::borrow::Cow;

use schism_history::{Event, Kind, Process, Random};
use serde_json::{Map, Value, json};

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub processes: u64,
    pub operations: u64,
    /// Values are below this; few values make many coincidences.
    pub values: u64,
    /// Of 100 operations, so many have an unknown outcome.
    pub unknown: u64,
    /// Of 100 reads and cas, so many are wrong about what they saw.
    pub wrong: u64,
    /// Of 100 operations, so many are cas.
    pub cas: u64,
}

impl Shape {
    /// A shape drawn at random, of at most `operations` operations.
    pub fn draw(random: &mut Random, operations: u64) -> Self {
        Self {
            processes: 2 + random.below(4),
            operations: 2 + random.below(operations - 1),
            values: 1 + random.below(4),
            unknown: random.below(3) * 20,
            wrong: random.below(3) * 15,
            cas: random.below(4) * 20,
        }
    }
}

struct Open {
    process: u64,
    f: &'static str,
    value: Value,
    /// Once it took effect: what a read saw, or whether a cas succeeded.
    effect: Option<Result<Value, ()>>,
    doomed: bool,
}

/// Simulates a register, and then lies about it now and then.
pub fn history(random: &mut Random, shape: Shape) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut free: Vec<u64> = (0..shape.processes).collect();
    let mut fresh = shape.processes;
    let mut open: Vec<Open> = Vec::new();
    let mut crashed: Vec<Open> = Vec::new();
    let mut state = Value::Null;
    let mut left = shape.operations;
    while left > 0 || !open.is_empty() {
        let choice = random.below(3);
        if choice == 0 && left > 0 && !free.is_empty() {
            left -= 1;
            let process = free.swap_remove(random.below(free.len() as u64) as usize);
            let mut value = || match random.below(shape.values + 1) {
                0 => Value::Null,
                value => json!(value),
            };
            let (a, b) = (value(), value());
            let (f, value) = match random.below(100) {
                draw if draw < shape.cas => ("cas", json!([a, b])),
                draw if draw % 2 == 0 => ("write", a),
                _ => ("read", Value::Null),
            };
            push(&mut events, process, Kind::Invoke, f, value.clone());
            let doomed = random.below(100) < shape.unknown;
            open.push(Open { process, f, value, effect: None, doomed });
        } else if choice == 1 && open.len() + crashed.len() > 0 {
            let position = random.below((open.len() + crashed.len()) as u64) as usize;
            let operation = match open.len() {
                open_count if position < open_count => &mut open[position],
                open_count => &mut crashed[position - open_count],
            };
            apply(operation, &mut state);
        } else if choice == 2 && !open.is_empty() {
            let mut operation = open.swap_remove(random.below(open.len() as u64) as usize);
            if operation.doomed {
                push(&mut events, operation.process, Kind::Info, operation.f, operation.value.clone());
                free.push(fresh);
                fresh += 1;
                crashed.push(operation);
                continue;
            }
            apply(&mut operation, &mut state);
            let mut result = operation.effect.clone().unwrap_or(Err(()));
            if random.below(100) < shape.wrong {
                result = match operation.f {
                    "read" => Ok(json!(1 + random.below(shape.values))),
                    "cas" if result.is_err() => Ok(operation.value.clone()),
                    // A failed write that took effect all the same.
                    _ => Err(()),
                };
            }
            free.push(operation.process);
            match result {
                Ok(value) => push(&mut events, operation.process, Kind::Ok, operation.f, value),
                Err(()) => push(&mut events, operation.process, Kind::Fail, operation.f, operation.value),
            }
        }
        // Some histories end in the middle.
        if left == 0 && random.below(12) == 0 {
            break;
        }
    }
    events
}

fn apply(operation: &mut Open, state: &mut Value) {
    if operation.effect.is_some() {
        return;
    }
    operation.effect = Some(match operation.f {
        "read" => Ok(state.clone()),
        "write" => {
            *state = operation.value.clone();
            Ok(operation.value.clone())
        }
        _ if operation.value[0] == *state => {
            *state = operation.value[1].clone();
            Ok(operation.value.clone())
        }
        _ => Err(()),
    });
}

fn push(events: &mut Vec<Event>, process: u64, kind: Kind, f: &'static str, value: Value) {
    let index = events.len() as u64;
    events.push(Event {
        index,
        time: (index + 1) * 1_000_000,
        process: Process::Client(process),
        kind,
        f: Cow::Borrowed(f),
        key: None,
        value,
        node: Some(format!("n{}", process % 3 + 1).into()),
        error: None,
        extra: Map::new(),
    });
}
