//! Queues and stacks. The state is the list of what is inside, in the order in which it came.

use serde_json::{Value, json};

use super::{Call, Draw, Object, echo, echoes, items};

pub struct FifoQueue;
pub struct UnorderedQueue;
pub struct Stack;

fn with(state: &Value, value: &Value) -> Value {
    json!([items(state), std::slice::from_ref(value)].concat())
}

fn without(state: &Value, place: usize) -> (Value, Value) {
    let mut rest = items(state).to_vec();
    let taken = rest.remove(place);
    (taken, Value::Array(rest))
}

macro_rules! values {
    ($insert:literal, $removals:expr) => {
        fn start(&self) -> Value {
            json!([])
        }

        fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
            if call.f == $insert { echoes(call.argument, result) } else { result == answer }
        }

        fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
            match draw.below(5) {
                0..3 => (draw.one(&$removals), Value::Null),
                _ => ($insert, draw.fresh()),
            }
        }

        fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
            if call.f == $insert { echo(draw, call.argument) } else { answer.clone() }
        }

        fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
            match draw.below(3) {
                _ if call.f == $insert => echo(draw, call.argument),
                0 => Value::Null,
                _ => draw.seen(),
            }
        }
    };
}

impl Object for FifoQueue {
    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        vec![match (call.f, items(state)) {
            ("enqueue", _) => (Value::Null, with(state, call.argument)),
            (_, []) => (Value::Null, state.clone()),
            _ => without(state, 0),
        }]
    }

    values!("enqueue", ["dequeue"]);
}

impl Object for UnorderedQueue {
    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        match (call.f, items(state)) {
            ("enqueue", _) => vec![(Value::Null, with(state, call.argument))],
            (_, []) => vec![(Value::Null, state.clone())],
            (_, inside) => (0..inside.len()).map(|place| without(state, place)).collect(),
        }
    }

    values!("enqueue", ["dequeue"]);
}

impl Object for Stack {
    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        vec![match (call.f, items(state)) {
            ("push", _) => (Value::Null, with(state, call.argument)),
            (_, []) => (Value::Null, state.clone()),
            ("peek", [.., top]) => (top.clone(), state.clone()),
            (_, inside) => without(state, inside.len() - 1),
        }]
    }

    values!("push", ["pop", "pop", "peek"]);
}
