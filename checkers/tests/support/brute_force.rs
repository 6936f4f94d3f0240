//! An independent judge for small histories: it tries every order. It shares nothing with the crate but the events.

use schism_history::{Event, Kind, Process};
use serde_json::Value;

struct Op {
    f: String,
    argument: Value,
    result: Value,
    invoked: usize,
    /// None: unknown outcome.
    returned: Option<usize>,
}

/// Whether the events, of one register with initial value null, are linearizable.
pub fn linearizable(events: &[Event]) -> bool {
    let mut ops: Vec<Op> = Vec::new();
    for (position, event) in events.iter().enumerate() {
        if event.process == Process::Nemesis || event.kind != Kind::Invoke {
            continue;
        }
        let completion = events
            .iter()
            .enumerate()
            .skip(position + 1)
            .find(|(_, other)| other.process == event.process)
            .filter(|(_, other)| other.kind != Kind::Invoke);
        let (result, returned) = match completion {
            Some((_, completion)) if completion.kind == Kind::Fail => continue,
            Some((at, completion)) if completion.kind == Kind::Ok => (completion.value.clone(), Some(at)),
            _ if event.f == "read" => continue,
            _ => (Value::Null, None),
        };
        ops.push(Op {
            f: event.f.to_string(),
            argument: event.value.clone(),
            result,
            invoked: position,
            returned,
        });
    }
    search(&ops, &mut vec![false; ops.len()], &Value::Null)
}

fn search(ops: &[Op], done: &mut [bool], state: &Value) -> bool {
    let left = || (0..ops.len()).filter(|op| !done[*op]);
    if left().all(|op| ops[op].returned.is_none()) {
        return true;
    }
    // An operation can be next if no other one that is left has returned before it was invoked.
    let bound = left().filter_map(|op| ops[op].returned).min().unwrap_or(usize::MAX);
    let candidates: Vec<usize> = left().filter(|op| ops[*op].invoked < bound).collect();
    for op in candidates {
        let Op { f, argument, result, .. } = &ops[op];
        let after = match f.as_str() {
            "read" if result == state => state.clone(),
            "write" => argument.clone(),
            "cas" if &argument[0] == state => argument[1].clone(),
            _ => continue,
        };
        done[op] = true;
        let found = search(ops, done, &after);
        done[op] = false;
        if found {
            return true;
        }
    }
    false
}
