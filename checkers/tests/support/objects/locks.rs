//! Locks.

use serde_json::{Value, json};

use super::{Call, Draw, Object};

pub struct Mutex;

fn granted(draw: &mut Draw<'_>, argument: &Value) -> Value {
    draw.one(&[Value::Null, json!(true), argument.clone()])
}

impl Object for Mutex {
    fn start(&self) -> Value {
        json!("free")
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        match (state.as_str().unwrap(), call.f) {
            ("free", "acquire") => vec![(Value::Null, json!("taken"))],
            ("taken", "release") => vec![(Value::Null, json!("free"))],
            _ => Vec::new(),
        }
    }

    fn means(&self, _: Call<'_>, _: &Value, _: &Value) -> bool {
        true
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        (draw.one(&["acquire", "release"]), draw.one(&[Value::Null, json!(3)]))
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, _: &Value) -> Value {
        granted(draw, call.argument)
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        granted(draw, call.argument)
    }
}

/// The state: who holds it, how often, the token of this hold, and the highest token of all; the token is guessed when
/// the hold begins, and is null where it is one that nobody mentions.
pub struct Lock {
    pub reentrant: bool,
    pub fenced: bool,
    /// The tokens that somebody mentions.
    pub tokens: Option<Vec<i64>>,
}

fn owner(call: Call<'_>) -> Value {
    match call.argument {
        Value::Null => json!({"process": call.process}),
        Value::Object(fields) => fields.get("owner").or(fields.get("client")).unwrap().clone(),
        name => name.clone(),
    }
}

fn token(result: &Value) -> &Value {
    match result {
        Value::Object(fields) => fields.get("token").or(fields.get("fence")).unwrap(),
        token => token,
    }
}

impl Lock {
    fn tokens(&self, highest: Option<i64>) -> Vec<Option<i64>> {
        let above = |token: &i64| highest.is_none_or(|highest| *token > highest);
        let known = match &self.tokens {
            _ if !self.fenced => Vec::new(),
            Some(tokens) => tokens.clone(),
            None => (1..=highest.unwrap_or(0) + 3).collect(),
        };
        known.into_iter().filter(above).map(Some).chain([None]).collect()
    }
}

impl Object for Lock {
    fn start(&self) -> Value {
        json!([null, 0, null, null])
    }

    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)> {
        let (owner, count) = (owner(call), state[1].as_u64().unwrap());
        let (holds, highest) = (count > 0 && state[0] == owner, state[3].as_i64());
        match call.f {
            "acquire" if count == 0 => self
                .tokens(highest)
                .into_iter()
                .map(|token| (json!(token), json!([owner, 1, token, token.max(highest)])))
                .collect(),
            "acquire" if holds && self.reentrant => {
                vec![(state[2].clone(), json!([owner, count + 1, state[2], highest]))]
            }
            "release" if holds && count == 1 => vec![(Value::Null, json!([null, 0, null, highest]))],
            "release" if holds => vec![(Value::Null, json!([owner, count - 1, state[2], highest]))],
            _ => Vec::new(),
        }
    }

    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool {
        let known = self.fenced && call.f == "acquire" && !token(result).is_null();
        !known || token(result) == answer
    }

    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value) {
        let name = draw.one(&["a", "b", "c"]);
        let argument = match draw.values {
            1 | 2 => Value::Null,
            _ => draw.one(&[json!(name), json!({"owner": name}), json!({"client": name}), Value::Null]),
        };
        (draw.one(&["acquire", "release"]), argument)
    }

    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value {
        if !self.fenced || call.f == "release" {
            return granted(draw, call.argument);
        }
        let owner = owner(call);
        match draw.below(5) {
            0 => Value::Null,
            1 => json!({"token": answer}),
            2 => json!({"fence": answer}),
            3 if owner.is_string() => json!({"owner": owner, "fence": answer}),
            _ => answer.clone(),
        }
    }

    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value {
        let token = json!(1 + draw.below(6));
        self.tell(draw, call, &token)
    }
}
