//! Small random histories of any object. Most are nearly linearizable, which is where a checker can be wrong in either direction.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schism_history::{Event, Kind, Process, Random};
use serde_json::{Map, Value, json};

use super::objects::{Call, Draw, Object};

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub processes: u64,
    pub operations: u64,
    pub values: u64,
    pub distinct: bool,
    /// How many keys; 0: the events have none.
    pub keys: u64,
    /// Of 100 operations, so many have an unknown outcome.
    pub unknown: u64,
    /// Of 100 results, so many are wrong.
    pub wrong: u64,
}

impl Shape {
    pub fn draw(random: &mut Random, operations: u64, keyed: bool) -> Self {
        Self {
            processes: 2 + random.below(4),
            operations: 2 + random.below(operations - 1),
            values: 1 + random.below(5),
            distinct: random.below(2) == 0,
            keys: if keyed { 1 + random.below(2) * random.below(2) } else { 0 },
            unknown: random.below(3) * 15,
            wrong: random.below(3) * 12,
        }
    }
}

struct Open {
    process: u64,
    key: u64,
    f: &'static str,
    argument: Value,
    /// Once it took effect: the answer, or that it was refused.
    effect: Option<Result<Value, ()>>,
    doomed: bool,
}

impl Open {
    fn call(&self) -> Call<'_> {
        Call { f: self.f, argument: &self.argument, process: self.process }
    }
}

/// Simulates the objects of one history, number `number` of those that will be checked together, and then lies about them.
pub fn history(object: &dyn Object, random: &mut Random, shape: Shape, number: u64) -> Vec<Event> {
    let mut draw = Draw {
        random,
        values: shape.values,
        distinct: shape.distinct.then_some(0),
        keyed: shape.keys > 0,
        prefix: format!("{number}/"),
    };
    let mut events: Vec<Event> = Vec::new();
    let mut free: Vec<u64> = (0..shape.processes).collect();
    let mut fresh = shape.processes;
    let mut open: Vec<Open> = Vec::new();
    let mut crashed: Vec<Open> = Vec::new();
    let mut pasts: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut left = shape.operations;
    let mut push = |process: u64, key: u64, kind, f: &'static str, value: Value| {
        let index = events.len() as u64;
        events.push(Event {
            index,
            time: (index + 1) * 1_000_000,
            process: Process::Client(process),
            kind,
            f: Cow::Borrowed(f),
            key: (shape.keys > 0).then(|| json!([number, key])),
            value,
            node: process.is_multiple_of(2).then(|| format!("n{}", process % 3 + 1).into()),
            error: None,
            extra: Map::new(),
        });
    };
    while left > 0 || !open.is_empty() {
        let choice = draw.below(3);
        if choice == 0 && left > 0 && !free.is_empty() {
            left -= 1;
            let process = free.swap_remove(draw.below(free.len() as u64) as usize);
            let (f, argument) = object.ask(&mut draw);
            let key = draw.below(shape.keys.max(1));
            push(process, key, Kind::Invoke, f, argument.clone());
            let doomed = draw.below(100) < shape.unknown;
            open.push(Open { process, key, f, argument, effect: None, doomed });
        } else if choice == 1 && open.len() + crashed.len() > 0 {
            let at = draw.below((open.len() + crashed.len()) as u64) as usize;
            let operation = if at < open.len() { &mut open[at] } else { &mut crashed[at - open.len()] };
            // What would be refused mostly waits.
            let patient = draw.below(4) > 0;
            apply(object, &mut draw, operation, &mut pasts, patient);
        } else if choice == 2 && !open.is_empty() {
            let at = draw.below(open.len() as u64) as usize;
            if draw.below(2) == 0 && open[at].effect.is_none() && !open[at].doomed {
                continue;
            }
            let mut operation = open.swap_remove(at);
            let (process, key, f) = (operation.process, operation.key, operation.f);
            if operation.doomed {
                if draw.below(4) > 0 {
                    let value = operation.argument.clone();
                    push(process, key, Kind::Info, f, value);
                }
                free.push(fresh);
                fresh += 1;
                crashed.push(operation);
                continue;
            }
            apply(object, &mut draw, &mut operation, &mut pasts, false);
            let call = operation.call();
            let result = match operation.effect.clone().unwrap_or(Err(())) {
                result if draw.below(100) >= shape.wrong => {
                    result.map(|answer| object.tell(&mut draw, call, &answer))
                }
                // It took effect all the same.
                Ok(_) if draw.below(6) == 0 => Err(()),
                _ => Ok(lie(object, &mut draw, call, &pasts[&name(&operation)])),
            };
            free.push(process);
            match result {
                Ok(value) => push(process, key, Kind::Ok, f, value),
                Err(()) => push(process, key, Kind::Fail, f, operation.argument),
            }
        }
        // Some histories end in the middle.
        if left == 0 && draw.below(12) == 0 {
            break;
        }
    }
    near_miss(object, &mut draw, &mut events);
    events
}

/// Which object an operation concerns, where keys stand in arguments too.
fn name(operation: &Open) -> String {
    let part = super::objects::form(operation.f, &operation.argument).0.filter(Value::is_string);
    let part = part.filter(|part| part.as_str().unwrap().contains('/'));
    format!("{} {part:?}", operation.key)
}

/// The operation takes effect, or is refused; a patient one waits instead.
fn apply(
    object: &dyn Object,
    draw: &mut Draw<'_>,
    operation: &mut Open,
    pasts: &mut BTreeMap<String, Vec<Value>>,
    patient: bool,
) {
    let past = pasts.entry(name(operation)).or_insert_with(|| vec![object.start()]);
    if operation.effect.is_some() {
        return;
    }
    let outcomes = object.outcomes(past.last().unwrap(), operation.call());
    let outcome = draw.random.pick(&outcomes).cloned();
    operation.effect = match outcome {
        Some((answer, after)) => {
            past.push(after);
            Some(Ok(answer))
        }
        None if patient => None,
        None => Some(Err(())),
    };
}

/// What was true once, or never.
fn lie(object: &dyn Object, draw: &mut Draw<'_>, call: Call<'_>, past: &[Value]) -> Value {
    let state = draw.random.pick(past).cloned().unwrap();
    match object.outcomes(&state, call).first() {
        Some((answer, _)) if draw.below(2) == 0 => object.tell(draw, call, answer),
        _ => object.invent(draw, call),
    }
}

/// Now and then, neighbours change places, or a result becomes another one.
fn near_miss(object: &dyn Object, draw: &mut Draw<'_>, events: &mut [Event]) {
    match draw.below(4) {
        0 if events.len() > 2 => {
            for _ in 0..1 + draw.below(2) {
                let at = draw.below(events.len() as u64 - 1) as usize;
                if events[at].process != events[at + 1].process {
                    events.swap(at, at + 1);
                }
            }
        }
        1 => {
            let done: Vec<usize> = (0..events.len()).filter(|at| events[*at].kind == Kind::Ok).collect();
            if let Some(at) = draw.random.pick(&done).copied() {
                let process = events[at].process;
                let invoked = events[..at].iter().rfind(|event| event.process == process).unwrap();
                let process = process.to_string().parse().unwrap();
                let call = Call { f: &invoked.f, argument: &invoked.value, process };
                let value = object.invent(draw, call);
                events[at].value = value;
            }
        }
        _ => {}
    }
    for (index, event) in events.iter_mut().enumerate() {
        event.index = index as u64;
        event.time = (index as u64 + 1) * 1_000_000;
    }
}
