//! An independent judge of small histories of any model: it tries every order. It shares nothing with the crate but the events.

use std::collections::{BTreeMap, HashSet};

use schism_checkers::linearizable::Model;
use schism_history::{Event, Kind};
use serde_json::Value;

use super::objects::{Call, Context, Object, form, object};

/// An operation of one object.
#[derive(Clone, Debug)]
pub struct Op {
    /// The index of the invocation.
    pub index: u64,
    pub process: u64,
    pub f: String,
    pub argument: Value,
    /// What it returned, where that is known.
    pub result: Option<Value>,
    /// Position of the invocation; negative: any time from the start on.
    pub invoked: i64,
    /// Position of the return; none: unknown outcome.
    pub returned: Option<i64>,
    /// It may have taken effect before all that is judged.
    pub optional: bool,
}

impl Op {
    fn call(&self) -> Call<'_> {
        Call { f: &self.f, argument: &self.argument, process: self.process }
    }

    /// The same operation, which may now have happened at any time, or never.
    pub fn freed(&self) -> Self {
        Self { invoked: -1, returned: None, ..self.clone() }
    }

    /// The same operation in a history that ends at a position: what returns later has no result yet.
    pub fn cut(&self, end: i64) -> Self {
        let returned = self.returned.filter(|returned| *returned <= end);
        Self { returned, result: self.result.clone().filter(|_| returned.is_some()), ..self.clone() }
    }
}

/// An object, by its key and its part.
pub type Name = (String, String);

/// The operations of every object that may have happened, in the order of their invocations.
pub fn objects(model: Model, events: &[Event]) -> BTreeMap<Name, Vec<Op>> {
    let mut objects: BTreeMap<Name, Vec<Op>> = BTreeMap::new();
    let mut open: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    let mut all: Vec<(Name, Option<Op>)> = Vec::new();
    for (position, event) in events.iter().enumerate() {
        let process = event.process.to_string().parse().unwrap();
        if event.kind == Kind::Invoke {
            let key = event.key.as_ref().map_or(String::new(), Value::to_string);
            let part = match (model, &event.key) {
                (Model::KeyValue, None) => {
                    form(&event.f, &event.value).0.map_or(String::new(), |key| key.to_string())
                }
                _ => String::new(),
            };
            open.insert(process, (all.len(), position));
            let op = Op {
                index: event.index,
                process,
                f: event.f.to_string(),
                argument: event.value.clone(),
                result: None,
                invoked: position as i64,
                returned: None,
                optional: false,
            };
            all.push(((key, part), Some(op)));
        } else if let Some((at, _)) = open.remove(&process) {
            match event.kind {
                Kind::Fail => all[at].1 = None,
                Kind::Ok => {
                    let op = all[at].1.as_mut().unwrap();
                    op.result = Some(event.value.clone());
                    op.returned = Some(position as i64);
                }
                _ => {}
            }
        }
    }
    for (name, op) in all {
        objects.entry(name).or_default().extend(op);
    }
    objects
}

fn numbers(value: &Value, found: &mut Vec<i64>) {
    match value {
        Value::Number(number) => found.extend(number.as_i64()),
        Value::Array(items) => items.iter().for_each(|item| numbers(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| numbers(field, found)),
        _ => {}
    }
}

/// The machine that judges these operations.
pub fn machine(model: Model, ops: &[Op], initial: &Value, missing: &Value) -> Box<dyn Object> {
    let mut context = Context {
        operations: ops.len() as u64,
        initial: initial.clone(),
        missing: missing.clone(),
        ..Context::default()
    };
    if matches!(model, Model::VersionedRegister | Model::FencedLock | Model::ReentrantFencedLock) {
        for op in ops {
            let versions = if op.f == "cas-version" { &op.argument[0] } else { &Value::Null };
            // Of `[value, version]` the version, of an object all numbers: there may be too many, never too few.
            let result = match &op.result {
                Some(Value::Array(pair)) => &pair[1],
                Some(result) if op.f != "write" || result.is_object() => result,
                _ => &Value::Null,
            };
            numbers(versions, &mut context.numbers);
            numbers(result, &mut context.numbers);
        }
        context.numbers.sort_unstable();
        context.numbers.dedup();
    }
    object(model, Some(&context))
}

/// The states after an operation with the result it had.
pub fn after(object: &dyn Object, state: &Value, op: &Op) -> impl Iterator<Item = Value> {
    let fits =
        |answer: &Value| op.result.as_ref().is_none_or(|result| object.means(op.call(), result, answer));
    object
        .outcomes(state, op.call())
        .into_iter()
        .filter(|(answer, _)| fits(answer))
        .map(|(_, after)| after)
        .collect::<Vec<_>>()
        .into_iter()
}

/// Every state to which some of the operations can take the object, in any order and with any answers.
pub fn states(object: &dyn Object, ops: &[Op]) -> Vec<Value> {
    let mut states = vec![object.start()];
    let mut place = 0;
    while place < states.len() && states.len() < 1_000 {
        for op in ops {
            for (_, next) in object.outcomes(&states[place].clone(), op.call()) {
                if !states.contains(&next) {
                    states.push(next);
                }
            }
        }
        place += 1;
    }
    states
}

/// Whether some order of the operations agrees with real time and with the object.
pub fn possible(object: &dyn Object, ops: &[Op]) -> bool {
    possible_from(object, &[object.start()], ops)
}

/// As [`possible`], of an object that is in one of some states at first.
pub fn possible_from(object: &dyn Object, starts: &[Value], ops: &[Op]) -> bool {
    assert!(ops.len() <= 64);
    let mut states = starts.to_vec();
    let mut waiting: Vec<(u64, usize)> = (0..states.len()).map(|state| (0, state)).collect();
    let mut seen: HashSet<(u64, usize)> = waiting.iter().copied().collect();
    while let Some((done, state)) = waiting.pop() {
        let left = || (0..ops.len()).filter(|op| done & (1 << op) == 0);
        let Some(bound) = left().filter_map(|op| ops[op].returned).min() else { return true };
        for op in left().filter(|op| ops[*op].invoked < bound) {
            if ops[op].optional && seen.insert((done | 1 << op, state)) {
                waiting.push((done | 1 << op, state));
            }
            for next in after(object, &states[state], &ops[op]).collect::<Vec<_>>() {
                let number = states.iter().position(|other| *other == next).unwrap_or_else(|| {
                    states.push(next);
                    states.len() - 1
                });
                let configuration = (done | 1 << op, number);
                if seen.insert(configuration) {
                    waiting.push(configuration);
                }
            }
        }
    }
    false
}

/// Whether the operations, in this order (indices of invocations), are legal, agree with real time, and are all that must have happened.
pub fn is_witness(object: &dyn Object, ops: &[Op], order: &[u64]) -> Result<(), String> {
    let mut states = vec![object.start()];
    let mut placed = HashSet::new();
    let mut latest = -1;
    for index in order {
        let op = ops.iter().find(|op| op.index == *index).ok_or(format!("{index} is no operation"))?;
        if !placed.insert(*index) {
            return Err(format!("{index} is there twice"));
        }
        if op.returned.is_some_and(|returned| returned < latest) {
            return Err(format!("{index} was over before one that comes earlier began"));
        }
        latest = latest.max(op.invoked);
        states = states.iter().flat_map(|state| after(object, state, op)).collect();
        states.dedup();
        if states.is_empty() {
            return Err(format!("{index} cannot happen there"));
        }
    }
    for op in ops.iter().filter(|op| op.returned.is_some() && !placed.contains(&op.index)) {
        if !op.result.as_ref().is_some_and(|result| object.is_silent(op.call(), result)) {
            return Err(format!("{} is missing", op.index));
        }
    }
    Ok(())
}
