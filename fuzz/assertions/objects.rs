//! The objects of all models as a store would have them, one operation after the other: what each answers is right by definition. They
//! share nothing with the checkers.

use std::collections::BTreeMap;

use schism_checkers::linearizable::Model;
use serde_json::{Value, json};

/// What is asked of an object.
pub struct Request {
    /// The name of the operation.
    pub f: &'static str,
    /// Its argument.
    pub argument: Value,
}

/// One object.
pub struct Object {
    model: Model,
    /// Bits that choose among the ways to ask and answer.
    style: u8,
    /// Whether the history has keys of its own.
    keyed: bool,
    initial: Value,
    /// Registers and maps, by name.
    held: BTreeMap<String, Value>,
    version: u64,
    /// Queues, stacks, sets and logs.
    items: Vec<Value>,
    count: i64,
    /// The holder of a lock, and how often.
    holder: Option<(Value, u32)>,
    token: i64,
    asked: i64,
}

/// The name of the register that is alone.
const ALONE: &str = "";

impl Object {
    pub fn new(model: Model, initial: Option<i64>, style: u8, keyed: bool) -> Self {
        Self {
            model,
            style,
            keyed,
            initial: initial.map_or(Value::Null, Value::from),
            held: BTreeMap::new(),
            version: 0,
            items: Vec::new(),
            count: 0,
            holder: None,
            token: 0,
            asked: 0,
        }
    }

    /// A value that is not null: one of three, or one that nobody had yet.
    fn value(&mut self, how: u8) -> Value {
        self.asked += 1;
        if self.style & 2 != 0 { json!(self.asked) } else { json!(1 + how % 3) }
    }

    fn nullable(&mut self, how: u8) -> Value {
        if self.style & 2 == 0 && how.is_multiple_of(4) { Value::Null } else { self.value(how / 4) }
    }

    fn get(&self, name: &str) -> Value {
        self.held.get(name).unwrap_or(&self.initial).clone()
    }

    fn expected(&self, how: u8) -> Value {
        if how.is_multiple_of(3) { json!(1 + how / 3 % 3) } else { self.get(ALONE) }
    }

    /// What a process asks next.
    pub fn request(&mut self, how: u8, process: u64) -> Request {
        let (pick, how) = (how % 8, how / 8);
        let null = Value::Null;
        let (f, argument) = match self.model {
            Model::Register | Model::CasRegister => match pick {
                0..3 => ("write", self.nullable(how)),
                3 | 4 if self.model == Model::CasRegister => {
                    ("cas", json!([self.expected(how), self.nullable(how / 2)]))
                }
                _ => ("read", null),
            },
            Model::VersionedRegister => match pick {
                0 | 1 => ("write", self.value(how)),
                2 => ("cas", json!([self.expected(how), self.value(how / 2)])),
                3 => {
                    let live = if self.get(ALONE) == Value::Null { 0 } else { self.version };
                    ("cas-version", json!([live.saturating_sub(u64::from(how % 2)), self.value(how)]))
                }
                4 => ("delete", null),
                _ => ("read", null),
            },
            Model::MultiRegister => {
                let name = if how % 2 == 0 { "x" } else { "y" };
                let other = if how & 2 == 0 { "x" } else { "y" };
                match pick {
                    0 => ("write", json!({ name: self.nullable(how / 2) })),
                    1 => ("write", json!({ "x": self.nullable(how), "y": self.nullable(how / 2) })),
                    2 => ("read", json!({ name: null })),
                    3 => ("read", json!(["x", "y"])),
                    4 => ("txn", json!([["w", name, self.nullable(how / 2)], ["r", other, null]])),
                    5 => ("txn", json!([["r", name, null], ["write", other, self.nullable(how / 4)]])),
                    6 => ("txn", json!([["read", "x", null], ["r", "y", null]])),
                    _ => ("txn", json!([["w", name, self.value(how)], ["w", other, self.value(how / 2)]])),
                }
            }
            Model::KeyValue => self.key_value_request(pick, how),
            Model::Mutex => (if pick < 4 { "acquire" } else { "release" }, null),
            Model::OwnerLock | Model::ReentrantLock | Model::FencedLock | Model::ReentrantFencedLock => {
                let owner = match self.style % 4 {
                    0 => null,
                    1 => json!({ "owner": if how % 2 == 0 { "a" } else { "b" } }),
                    2 => json!(if how % 3 == 0 { "a" } else { "b" }),
                    _ => json!({ "client": format!("c{process}") }),
                };
                (if pick < 4 { "acquire" } else { "release" }, owner)
            }
            Model::Counter => {
                let delta = json!(i64::from(how % 8) - 3);
                match pick {
                    0 => ("add", delta),
                    1 => ("decrement", delta),
                    2 => ("increment", null),
                    3 => ("add-and-get", delta),
                    4 => ("get-and-add", delta),
                    5 => ("get-and-increment", null),
                    _ => ("read", null),
                }
            }
            Model::Set => match pick {
                0..3 => ("add", self.value(how)),
                3 => ("remove", json!(1 + how % 3)),
                4 => ("contains", json!(1 + how % 3)),
                _ => ("read", null),
            },
            Model::FifoQueue | Model::UnorderedQueue => match pick {
                0..4 => ("enqueue", self.value(how)),
                _ => ("dequeue", null),
            },
            Model::Stack => match pick {
                0..4 => ("push", self.value(how)),
                7 if self.style & 4 != 0 => ("peek", null),
                _ => ("pop", null),
            },
            Model::Log => match pick {
                0..4 => ("append", self.value(how)),
                _ => ("read", null),
            },
        };
        Request { f, argument }
    }

    /// The key in the argument, or in a field of the history.
    fn key_value_request(&mut self, pick: u8, how: u8) -> (&'static str, Value) {
        let key = how % 2;
        let mut value = self.value(how / 2);
        if self.style & 4 != 0 {
            value = json!(format!("t{value}"));
        }
        let held = self.get(&key.to_string());
        let (f, value) = match pick {
            0 | 1 => ("put", Some(value)),
            // Nobody can append to anything: only texts are put where there are appends.
            2 if self.style & 4 != 0 => ("append", Some(value)),
            2 => ("put", Some(if self.style & 8 != 0 { Value::Null } else { value })),
            3 => ("delete", None),
            4 => ("cas", Some(json!([if how & 2 == 0 { held } else { json!(how % 4) }, value]))),
            _ => ("get", None),
        };
        let argument = match (self.keyed, value) {
            (true, value) => value.unwrap_or_default(),
            (false, Some(value)) => json!({ "key": key, "value": value }),
            (false, None) => json!({ "key": key }),
        };
        (f, argument)
    }

    /// Carries it out: what it returns, or that it was refused.
    pub fn perform(&mut self, request: &Request, process: u64, how: u8) -> Result<Value, ()> {
        let Request { f, argument } = request;
        match self.model {
            Model::Register | Model::CasRegister => match *f {
                "read" => Ok(self.get(ALONE)),
                "write" => self.put(ALONE, argument),
                _ => self.swap(ALONE, &argument[0], &argument[1]),
            },
            Model::VersionedRegister => self.versioned(f, argument, how),
            Model::MultiRegister => Ok(self.multi(f, argument)),
            Model::KeyValue => self.key_value(f, argument),
            Model::Mutex => match (*f, &self.holder) {
                ("acquire", None) => self.hold(Value::Null, 1),
                ("release", Some(_)) => self.free(),
                _ => Err(()),
            },
            Model::OwnerLock | Model::ReentrantLock | Model::FencedLock | Model::ReentrantFencedLock => {
                self.lock(f, argument, process, how)
            }
            Model::Counter => Ok(self.counter(f, argument)),
            Model::Set => Ok(self.set(f, argument)),
            Model::FifoQueue | Model::UnorderedQueue | Model::Stack | Model::Log => {
                Ok(self.sequence(f, argument, how))
            }
        }
    }

    fn put(&mut self, name: &str, value: &Value) -> Result<Value, ()> {
        self.held.insert(name.to_owned(), value.clone());
        Ok(if self.style & 16 == 0 { Value::Null } else { value.clone() })
    }

    fn swap(&mut self, name: &str, expected: &Value, new: &Value) -> Result<Value, ()> {
        if self.get(name) != *expected {
            return Err(());
        }
        self.held.insert(name.to_owned(), new.clone());
        Ok(Value::Null)
    }

    fn versioned(&mut self, f: &str, argument: &Value, how: u8) -> Result<Value, ()> {
        let live = self.get(ALONE) != Value::Null;
        let new = match f {
            "read" if !live => return Ok(Value::Null),
            "read" if self.style & 32 == 0 => return Ok(json!([self.get(ALONE), self.version])),
            "read" => return Ok(json!({ "value": self.get(ALONE), "version": self.version })),
            "delete" => &Value::Null,
            "write" => argument,
            "cas" if self.get(ALONE) == argument[0] => &argument[1],
            "cas-version" if argument[0] == json!(if live { self.version } else { 0 }) => &argument[1],
            _ => return Err(()),
        };
        self.version += 1 + u64::from(how % 2);
        self.held.insert(ALONE.to_owned(), new.clone());
        Ok(match how / 2 % 3 {
            0 => Value::Null,
            1 if f != "delete" => json!({ "version": self.version }),
            _ => json!([new, self.version]),
        })
    }

    fn multi(&mut self, f: &str, argument: &Value) -> Value {
        match (f, argument) {
            ("write", Value::Object(fields)) => {
                for (name, value) in fields {
                    self.held.insert(name.clone(), value.clone());
                }
                Value::Null
            }
            ("read", Value::Object(fields)) => {
                Value::Object(fields.keys().map(|name| (name.clone(), self.get(name))).collect())
            }
            ("read", _) => json!({ "x": self.get("x"), "y": self.get("y") }),
            (_, Value::Array(steps)) => {
                let mut done = steps.clone();
                for step in &mut done {
                    let name = step[1].as_str().unwrap_or_default().to_owned();
                    if step[0].as_str().is_some_and(|kind| kind.starts_with('r')) {
                        step[2] = self.get(&name);
                    } else {
                        self.held.insert(name, step[2].clone());
                    }
                }
                Value::Array(done)
            }
            _ => Value::Null,
        }
    }

    fn key_value(&mut self, f: &str, argument: &Value) -> Result<Value, ()> {
        let (key, value) = match self.keyed {
            true => (ALONE.to_owned(), argument),
            false => (argument["key"].to_string(), &argument["value"]),
        };
        match f {
            "get" => Ok(self.get(&key)),
            "put" => self.put(&key, value).map(|_| Value::Null),
            "delete" => self.put(&key, &Value::Null).map(|_| Value::Null),
            "append" => {
                let before = self.get(&key);
                let text =
                    before.as_str().unwrap_or_default().to_owned() + value.as_str().unwrap_or_default();
                self.put(&key, &json!(text)).map(|_| Value::Null)
            }
            _ => self.swap(&key, &value[0], &value[1]),
        }
    }

    fn hold(&mut self, owner: Value, count: u32) -> Result<Value, ()> {
        self.holder = Some((owner, count));
        Ok(if self.style & 16 == 0 { Value::Null } else { json!(true) })
    }

    fn free(&mut self) -> Result<Value, ()> {
        self.holder =
            self.holder.take().filter(|(_, count)| *count > 1).map(|(owner, count)| (owner, count - 1));
        Ok(Value::Null)
    }

    fn lock(&mut self, f: &str, argument: &Value, process: u64, how: u8) -> Result<Value, ()> {
        let owner = match argument {
            Value::Null => json!(["process", process]),
            Value::Object(fields) => fields.values().next().cloned().unwrap_or_default(),
            owner => owner.clone(),
        };
        let reentrant = matches!(self.model, Model::ReentrantLock | Model::ReentrantFencedLock);
        let fenced = matches!(self.model, Model::FencedLock | Model::ReentrantFencedLock);
        let held = match (f, &self.holder) {
            ("acquire", None) => {
                self.token += 1 + i64::from(how % 2);
                self.hold(owner, 1)
            }
            ("acquire", Some((holder, count))) if reentrant && *holder == owner => {
                let count = count + 1;
                self.hold(owner, count)
            }
            ("release", Some((holder, _))) if *holder == owner => return self.free(),
            _ => return Err(()),
        };
        match (fenced, how / 2 % 4) {
            (false, _) => held,
            (true, 0) => Ok(Value::Null),
            (true, 1) => Ok(json!({ "fence": self.token })),
            (true, _) => Ok(json!(self.token)),
        }
    }

    fn counter(&mut self, f: &str, argument: &Value) -> Value {
        let before = self.count;
        let delta = argument.as_i64().unwrap_or(1);
        match f {
            "read" => return json!(self.count),
            "decrement" => self.count -= delta,
            _ => self.count += delta,
        }
        match f {
            "add-and-get" => json!(self.count),
            "get-and-add" | "get-and-increment" => json!(before),
            _ => Value::Null,
        }
    }

    fn set(&mut self, f: &str, argument: &Value) -> Value {
        let place = self.items.iter().position(|item| item == argument);
        let changed = match f {
            "read" => {
                let mut items = self.items.clone();
                if self.style & 32 != 0 {
                    items.reverse();
                }
                return Value::Array(items);
            }
            "contains" => return json!(place.is_some()),
            "add" => place.is_none(),
            _ => place.is_some(),
        };
        match (f, place) {
            ("add", None) => self.items.push(argument.clone()),
            ("remove", Some(place)) => drop(self.items.remove(place)),
            _ => {}
        }
        match self.style & 16 {
            0 => Value::Null,
            _ => json!(changed),
        }
    }

    fn sequence(&mut self, f: &str, argument: &Value, how: u8) -> Value {
        match f {
            "enqueue" | "push" | "append" => {
                self.items.push(argument.clone());
                let length = self.items.len();
                match (f, how % 4) {
                    ("append", 1) => json!({ "offset": length - 1 }),
                    ("append", 2) => json!({ "length": length }),
                    (_, 3) => argument.clone(),
                    _ => Value::Null,
                }
            }
            "read" => Value::Array(self.items.clone()),
            "peek" => self.items.last().cloned().unwrap_or_default(),
            "pop" => self.items.pop().unwrap_or_default(),
            _ if self.items.is_empty() => Value::Null,
            _ if self.model == Model::UnorderedQueue => {
                self.items.remove(usize::from(how) % self.items.len())
            }
            _ => self.items.remove(0),
        }
    }

    /// Another answer than the right one, which may be possible all the same.
    pub fn lie(&self, request: &Request, right: Result<Value, ()>, how: u8) -> Result<Value, ()> {
        match right {
            Err(()) => Ok(Value::Null),
            Ok(_) if how.is_multiple_of(8) => Err(()),
            Ok(right) => Ok(changed(request, right, how / 8)),
        }
    }
}

fn changed(request: &Request, right: Value, how: u8) -> Value {
    match right {
        Value::Bool(right) => json!(!right),
        Value::Number(_) if matches!(request.f, "dequeue" | "pop" | "peek") && how.is_multiple_of(5) => {
            Value::Null
        }
        Value::Number(right) => json!(right.as_i64().unwrap_or_default() - 2 + i64::from(how % 5)),
        Value::String(right) if how.is_multiple_of(2) => json!(right + "t1"),
        // Never the empty text: whether it is what an absent key reads as depends on the whole history.
        Value::String(right) => json!(right.get(2..).filter(|rest| !rest.is_empty()).unwrap_or("t9")),
        Value::Null if matches!(request.f, "dequeue" | "pop" | "peek" | "read" | "get") => json!(1 + how % 3),
        Value::Null => Value::Null,
        Value::Array(mut items) => {
            let place = usize::from(how / 4) % items.len().max(1);
            match (how % 4, items.get_mut(place)) {
                (0, Some(_)) => drop(items.remove(place)),
                (1, Some(item)) => *item = changed(request, item.take(), how / 4),
                (2, Some(_)) => items.swap(0, place),
                _ => items.push(json!(1 + how / 4 % 3)),
            }
            Value::Array(items)
        }
        Value::Object(fields) => {
            let change = |(name, value)| (name, changed(request, value, how));
            Value::Object(fields.into_iter().map(change).collect())
        }
    }
}
