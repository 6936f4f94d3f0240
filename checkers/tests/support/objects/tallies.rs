//! Counters, sets and logs.

use serde_json::{Value, json};

use super::{Call, Draw, Object, echo, echoes, items};

pub struct Counter;
pub struct Set;
pub struct Log;

impl Object for Counter {
    fn start(&self) -> Value {
        json!(0)
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        let amount = call.argument.as_i64().unwrap_or(1);
        let before = state.as_i64().unwrap();
        let down = matches!(call.f, "decrement" | "dec");
        let after = if down { before - amount } else { before + amount };
        vec![match call.f {
            "read" => (state.clone(), state.clone()),
            "add-and-get" | "increment-and-get" => (json!(after), json!(after)),
            "get-and-add" | "get-and-increment" => (json!(before), json!(after)),
            _ => (Value::Null, json!(after)),
        }]
    }

    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
        answer.is_null() && echoes(call.argument, result) || result == answer
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        let amount = match draw.values {
            1 => json!(1),
            2 => json!(1 + draw.below(3)),
            _ => json!(draw.below(7) as i64 - 3),
        };
        let f = match draw.below(4) {
            0 => "read",
            1 | 2 => draw.one(&["add", "add", "increment", "inc", "decrement", "dec"]),
            _ => draw.one(&["add-and-get", "get-and-add", "increment-and-get", "get-and-increment"]),
        };
        let lacks = f == "read" || !f.contains("add") && draw.below(2) == 0;
        (f, if lacks { Value::Null } else { amount })
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
        if answer.is_null() { echo(draw, call.argument) } else { answer.clone() }
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        let (answer, _) = self.outcomes(&json!(draw.below(9) as i64 - 2), call).remove(0);
        self.tell(draw, call, &answer)
    }
}

fn sorted(list: &Value) -> Value {
    let mut list = items(list).to_vec();
    list.sort_by_key(Value::to_string);
    Value::Array(list)
}

/// The state is the sorted list of its elements.
impl Object for Set {
    fn start(&self) -> Value {
        json!([])
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        let has = items(state).contains(call.argument);
        let mut with = items(state).to_vec();
        with.retain(|element| element != call.argument);
        let without = Value::Array(with.clone());
        with.push(call.argument.clone());
        vec![match call.f {
            "add" | "insert" => (json!(!has), sorted(&Value::Array(with))),
            "remove" | "delete" => (json!(has), without),
            "contains" => (json!(has), state.clone()),
            _ => (state.clone(), state.clone()),
        }]
    }

    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
        match call.f {
            "read" => sorted(result) == *answer,
            "contains" => result == answer,
            _ => echoes(call.argument, result) || result == answer,
        }
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        let (fresh, seen) = (draw.fresh(), draw.seen());
        match draw.below(if draw.values > 3 { 8 } else { 11 }) {
            0..3 => ("read", Value::Null),
            3..7 => (draw.one(&["add", "insert"]), fresh),
            7 => ("contains", seen),
            _ => (draw.one(&["remove", "delete", "contains"]), seen),
        }
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
        match call.f {
            "contains" => answer.clone(),
            "read" => {
                let mut list = items(answer).to_vec();
                draw.random.shuffle(&mut list);
                Value::Array(list)
            }
            _ if draw.below(2) == 0 => answer.clone(),
            _ => echo(draw, call.argument),
        }
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        let answer = match call.f {
            "read" => (0..draw.below(4)).map(|_| draw.seen()).collect(),
            _ => json!(draw.below(2) == 0),
        };
        self.tell(draw, call, &answer)
    }
}

/// The state is the list of its elements.
impl Object for Log {
    fn start(&self) -> Value {
        json!([])
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        vec![match call.f {
            "append" => {
                let after = json!([items(state), std::slice::from_ref(call.argument)].concat());
                (json!(items(state).len()), after)
            }
            _ => (state.clone(), state.clone()),
        }]
    }

    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
        match (call.f, result) {
            ("append", Value::Object(fields)) => match fields.get("offset") {
                Some(offset) => offset == answer,
                None => fields["length"] == answer.as_u64().unwrap() + 1,
            },
            ("append", _) => true,
            _ => result == answer,
        }
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        let value = draw.fresh();
        if draw.below(5) < 2 { ("read", Value::Null) } else { ("append", value) }
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
        match (call.f, draw.below(4)) {
            ("read", _) => answer.clone(),
            (_, 0) => json!({"offset": answer}),
            (_, 1) => json!({"length": answer.as_u64().unwrap() + 1}),
            _ => echo(draw, call.argument),
        }
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        let answer = match call.f {
            "read" => (0..draw.below(4)).map(|_| draw.seen()).collect(),
            _ => json!(draw.below(4)),
        };
        self.tell(draw, call, &answer)
    }
}
