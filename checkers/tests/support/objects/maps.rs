//! Several registers together, and maps.

use serde_json::{Map, Value, json};

use super::{Call, Draw, Object, echo, echoes, items};

/// The state is an object of the registers `x` and `y`.
pub struct Multi {
    pub initial: Value,
}

const REGISTERS: [&str; 2] = ["x", "y"];

fn writes(step: &Value) -> bool {
    step[0] == "write" || step[0] == "w"
}

impl Object for Multi {
    fn start(&self) -> Value {
        json!({"x": self.initial, "y": self.initial})
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        let mut after = state.clone();
        let answer = match call.f {
            "read" => state.clone(),
            "write" => {
                for (register, value) in call.argument.as_object().unwrap() {
                    after[register] = value.clone();
                }
                Value::Null
            }
            _ => {
                let mut answer = call.argument.clone();
                for step in answer.as_array_mut().unwrap() {
                    let register = step[1].as_str().unwrap().to_owned();
                    if writes(step) {
                        after[register] = step[2].clone();
                    } else {
                        step[2] = after[register].clone();
                    }
                }
                answer
            }
        };
        vec![(answer, after)]
    }

    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
        match call.f {
            "write" => true,
            "read" => {
                let got = result.as_object().unwrap();
                got.iter().all(|(register, value)| value.is_null() || answer[register] == *value)
            }
            // Null is said by transactions that only write.
            _ => items(result)
                .iter()
                .zip(items(answer))
                .all(|(got, step)| writes(got) || got[2].is_null() || got[2] == step[2]),
        }
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        match draw.below(6) {
            0 => {
                let list = json!(REGISTERS[..1 + draw.below(2) as usize]);
                let object = json!({"y": null});
                ("read", draw.one(&[Value::Null, list, object]))
            }
            1 => {
                let mut registers = Map::new();
                for _ in 0..1 + draw.below(2) {
                    registers.insert(draw.one(&REGISTERS).to_owned(), draw.fresh());
                }
                ("write", Value::Object(registers))
            }
            _ => {
                let steps = 1 + draw.below(3);
                let step = |draw: &mut Draw<'_>| {
                    let register = draw.one(&REGISTERS);
                    match draw.below(2) {
                        0 => json!([draw.one(&["read", "r"]), register, null]),
                        _ => json!([draw.one(&["write", "w"]), register, draw.fresh()]),
                    }
                };
                ("txn", (0..steps).map(|_| step(draw)).collect())
            }
        }
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
        match call.f {
            "write" => echo(draw, call.argument),
            "read" => match call.argument {
                Value::Null => answer.clone(),
                Value::Array(list) => list
                    .iter()
                    .map(|name| name.as_str().unwrap())
                    .map(|name| (name, answer[name].clone()))
                    .collect(),
                object => object
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|name| (name.clone(), answer[name].clone()))
                    .collect(),
            },
            _ if items(call.argument).iter().all(writes) => echo(draw, call.argument),
            _ => {
                let mut told = answer.clone();
                for step in told.as_array_mut().unwrap() {
                    // Nobody knows what was read.
                    if !writes(step) && draw.below(8) == 0 {
                        step[2] = Value::Null;
                    }
                }
                told
            }
        }
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        let state = json!({"x": draw.seen(), "y": draw.seen()});
        let (answer, _) = self.outcomes(&state, call).remove(0);
        self.tell(draw, call, &answer)
    }

    fn is_silent(&self, call: Call<'_>, result: &Value) -> bool {
        match call.f {
            "read" => result.as_object().unwrap().values().all(Value::is_null),
            "txn" => items(result).iter().all(|step| !writes(step) && step[2].is_null()) && !result.is_null(),
            _ => call.argument.as_object().unwrap().is_empty(),
        }
    }
}

/// One key of a map: its state is its value, or what `missing` is.
pub struct KeyValue {
    pub missing: Value,
}

/// The key in an argument, none if it stands elsewhere, and what else the argument says.
pub fn form(f: &str, argument: &Value) -> (Option<Value>, Value) {
    let asks = matches!(f, "get" | "read" | "delete");
    match argument {
        Value::Object(fields) if fields.contains_key("key") => {
            let rest = fields
                .get("value")
                .cloned()
                .unwrap_or_else(|| if asks { Value::Null } else { json!([fields["old"], fields["new"]]) });
            (Some(fields["key"].clone()), rest)
        }
        Value::Array(pair) if pair.len() == 2 => (Some(pair[0].clone()), pair[1].clone()),
        key => (Some(key.clone()), Value::Null),
    }
}

fn pair(rest: &Value) -> (Value, Value) {
    match rest {
        Value::Object(fields) => (fields["old"].clone(), fields["new"].clone()),
        pair => (pair[0].clone(), pair[1].clone()),
    }
}

/// The argument without the key. Keys that the tests write into arguments are texts that hold a `/`, which no value does.
fn rest(call: Call<'_>) -> Value {
    let is_key = |value: &Value| value.as_str().is_some_and(|text| text.contains('/'));
    let within = match call.argument {
        Value::Object(fields) => fields.get("key").is_some_and(is_key),
        Value::Array(pair) => pair.first().is_some_and(is_key),
        other => is_key(other),
    };
    if within { form(call.f, call.argument).1 } else { call.argument.clone() }
}

impl KeyValue {
    fn append(&self, state: &Value, more: &Value) -> Option<Value> {
        Some(match (state, more) {
            (state, more) if *state == self.missing => match more {
                Value::String(_) | Value::Array(_) => more.clone(),
                _ => json!([more]),
            },
            (Value::String(text), Value::String(more)) => json!(format!("{text}{more}")),
            (Value::Array(list), Value::Array(more)) => json!([&list[..], &more[..]].concat()),
            (Value::Array(list), more) => json!([&list[..], std::slice::from_ref(more)].concat()),
            _ => return None,
        })
    }

    fn value(draw: &mut Draw<'_>, value: Value) -> Value {
        let text = json!(format!("t{value}"));
        match draw.below(12) {
            0 => Value::Null,
            1 => json!(""),
            2 => json!([value]),
            3..6 => value,
            _ => text,
        }
    }
}

impl Object for KeyValue {
    fn start(&self) -> Value {
        self.missing.clone()
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        let rest = rest(call);
        let after = match call.f {
            "get" | "read" => return vec![(state.clone(), state.clone())],
            "put" | "write" => Some(rest),
            "append" => self.append(state, &rest),
            "delete" => Some(self.missing.clone()),
            _ => {
                let (expected, new) = pair(&rest);
                (expected == *state).then_some(new)
            }
        };
        after.into_iter().map(|after| (Value::Null, after)).collect()
    }

    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
        if !matches!(call.f, "get" | "read") {
            return echoes(call.argument, result);
        }
        match (call.argument, result) {
            (Value::Object(_), Value::Object(fields)) if fields.contains_key("key") => {
                fields["value"] == *answer
            }
            (Value::Array(_), _) => result[1] == *answer,
            _ => result == answer,
        }
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        let names: &[&str] = if draw.values > 3 {
            // A register: nothing is appended.
            &["get", "read", "put", "write", "delete", "cas", "cas"]
        } else {
            &["get", "get", "read", "put", "append", "append", "delete", "cas"]
        };
        let f = draw.one(names);
        let (fresh, seen) = (draw.fresh(), draw.seen());
        let mut value = Self::value(draw, fresh);
        let expected = Self::value(draw, seen);
        if f == "append" && value.is_null() {
            value = json!("t");
        }
        let number = draw.below(2);
        let key = json!(format!("{}{number}", draw.prefix));
        let inside = draw.below(2) == 0;
        let argument = match (f, draw.keyed) {
            ("get" | "read" | "delete", true) => Value::Null,
            ("get" | "read" | "delete", false) => {
                draw.one(&[key.clone(), json!([key, null]), json!({"key": key})])
            }
            ("cas", true) if inside => json!({"old": expected, "new": value}),
            ("cas", true) => json!([expected, value]),
            ("cas", false) => draw.one(&[
                json!({"key": key, "value": [expected, value]}),
                json!({"key": key, "old": expected, "new": value}),
                json!([key, [expected, value]]),
            ]),
            (_, true) => value,
            (_, false) if inside => json!({"key": key, "value": value}),
            (_, false) => json!([key, value]),
        };
        (f, argument)
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
        if !matches!(call.f, "get" | "read") {
            return echo(draw, call.argument);
        }
        match call.argument {
            Value::Array(pair) => json!([pair[0], answer]),
            Value::Object(fields) if draw.below(2) == 0 => json!({"key": fields["key"], "value": answer}),
            _ => answer.clone(),
        }
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        let seen = draw.seen();
        let value = Self::value(draw, seen);
        self.tell(draw, call, &value)
    }
}
