//! Registers, with and without compare-and-set, and with versions.

use serde_json::{Value, json};

use super::{Call, Draw, Object, echo, echoes};

pub struct Register {
    pub cas: bool,
    pub initial: Value,
}

fn or_null(draw: &mut Draw<'_>, value: Value) -> Value {
    if draw.below(8) == 0 { Value::Null } else { value }
}

impl Object for Register {
    fn start(&self) -> Value {
        self.initial.clone()
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        match call.f {
            "read" => vec![(state.clone(), state.clone())],
            "write" => vec![(Value::Null, call.argument.clone())],
            _ if call.argument[0] == *state => vec![(Value::Null, call.argument[1].clone())],
            _ => Vec::new(),
        }
    }

    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
        if call.f == "read" { result == answer } else { echoes(call.argument, result) }
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        let value = draw.fresh();
        let value = or_null(draw, value);
        match draw.below(if self.cas { 4 } else { 2 }) {
            0 => ("read", Value::Null),
            1 => ("write", value),
            _ => {
                let expected = draw.seen();
                ("cas", json!([or_null(draw, expected), value]))
            }
        }
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
        if call.f == "read" { answer.clone() } else { echo(draw, call.argument) }
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        let value = draw.seen();
        if call.f == "read" { or_null(draw, value) } else { echo(draw, call.argument) }
    }
}

/// The state is a value, or null, and the latest version. Every number that a version can have is tried up to the limit.
pub struct Versioned {
    pub limit: Option<u64>,
}

/// The version in a result, and the value where it says one.
fn versioned(result: &Value) -> (Option<&Value>, &Value) {
    match result {
        Value::Array(pair) => (pair.first(), &pair[1]),
        object => (object.get("value"), &object["version"]),
    }
}

impl Versioned {
    fn written(call: Call<'_>) -> &Value {
        if call.f == "write" { call.argument } else { &call.argument[1] }
    }
}

impl Object for Versioned {
    fn start(&self) -> Value {
        json!([null, 0])
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        let (value, version) = (&state[0], state[1].as_u64().unwrap());
        let number = |version: u64| if value.is_null() { 0 } else { version };
        let meets = match call.f {
            "read" => return vec![(json!([value, number(version)]), state.clone())],
            // Its version does not count.
            "delete" => return vec![(Value::Null, json!([null, version]))],
            "write" => true,
            "cas" => call.argument[0] == *value,
            _ => call.argument[0] == number(version),
        };
        if !meets {
            return Vec::new();
        }
        let limit = self.limit.unwrap_or(version + 3);
        (version + 1..=limit).map(|next| (json!(next), json!([Self::written(call), next]))).collect()
    }

    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
        match call.f {
            "delete" => true,
            "read" if result.is_null() => answer[0].is_null(),
            "read" => versioned(result) == (Some(&answer[0]), &answer[1]),
            _ if echoes(call.argument, result) => true,
            _ => versioned(result).1 == answer,
        }
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        let value = draw.fresh();
        match draw.below(8) {
            0..3 => ("read", Value::Null),
            3..5 => ("write", value),
            5 => {
                let expected = draw.seen();
                ("cas", json!([or_null(draw, expected), value]))
            }
            6 => ("cas-version", json!([draw.below(6), value])),
            _ => ("delete", Value::Null),
        }
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
        match call.f {
            "delete" => Value::Null,
            "read" => match draw.below(3) {
                0 if answer[0].is_null() => Value::Null,
                1 => json!({"value": answer[0], "version": answer[1]}),
                _ => answer.clone(),
            },
            _ => match draw.below(6) {
                0 => Value::Null,
                1 => call.argument.clone(),
                2 => json!([Self::written(call), answer]),
                3 => json!({"value": Self::written(call), "version": answer}),
                _ => json!({"version": answer}),
            },
        }
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        let version = json!(1 + draw.below(9));
        match call.f {
            "read" if draw.below(5) == 0 => Value::Null,
            "read" => json!([draw.seen(), version]),
            _ => self.tell(draw, call, &version),
        }
    }
}
