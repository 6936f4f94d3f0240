//! Simulated objects: what an operation does to one, and what it answers.

use std::collections::VecDeque;

use schism_history::{Random, TooMany, ValueId, Values};

/// Which object, and which operations it gets. The names of the operations are those that the checker's models have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Register,
    CasRegister,
    KeyValue,
    Queue,
    Stack,
    Set,
    Counter,
    Mutex,
    Log,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// No value twice.
    Distinct,
    /// Values below this.
    Small(u64),
}

/// An operation as it is invoked.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub f: &'static str,
    pub argument: ValueId,
    /// What it is about, as a number: the value to write, the element, the amount.
    pub number: i64,
    /// What a compare-and-set expects.
    pub expected: ValueId,
}

/// What an operation did.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    Done(ValueId),
    /// It had no effect and says so.
    Refused,
    /// It has to wait.
    Blocked,
}

#[derive(Clone, Debug)]
enum State {
    Register(ValueId),
    Text(String),
    Queue(VecDeque<i64>),
    Stack(Vec<i64>),
    Set(Vec<bool>),
    Counter(i64),
    Mutex(Option<u64>),
    Log(Vec<ValueId>),
}

/// Elements of a simulated set.
const ELEMENTS: u64 = 1000;

/// Elements that a simulated queue or stack holds, about.
const DEPTH: usize = 20;

/// One simulated object.
#[derive(Clone, Debug)]
pub struct Object {
    kind: Kind,
    domain: Domain,
    state: State,
    /// The next value that was never written.
    next: i64,
    /// A value that was there and is long gone.
    gone: Option<i64>,
    /// Of how many operations one reads the whole log.
    read_every: u64,
}

impl Object {
    /// An object as it is at the start, which gets `operations` of them.
    pub fn new(kind: Kind, domain: Domain, operations: u64) -> Self {
        let state = match kind {
            Kind::Register | Kind::CasRegister => State::Register(ValueId::NULL),
            Kind::KeyValue => State::Text(String::new()),
            Kind::Queue => State::Queue(VecDeque::new()),
            Kind::Stack => State::Stack(Vec::new()),
            Kind::Set => State::Set(vec![false; ELEMENTS as usize]),
            Kind::Counter => State::Counter(0),
            Kind::Mutex => State::Mutex(None),
            Kind::Log => State::Log(Vec::new()),
        };
        // The lists that are read then add up to a few elements for each operation, however long the log becomes.
        let read_every = (operations / 10).max(2);
        Self { kind, domain, state, next: 0, gone: None, read_every }
    }

    /// The next operation of `process`.
    pub fn draw(
        &mut self,
        process: u64,
        random: &mut Random,
        values: &mut Values,
    ) -> Result<Request, TooMany> {
        let draw = random.below(6);
        let f = match self.kind {
            Kind::Register if draw < 3 => "read",
            Kind::Register => "write",
            Kind::CasRegister => ["read", "write", "cas"][draw as usize % 3],
            Kind::KeyValue => ["get", "get", "get", "put", "put", "append"][draw as usize],
            Kind::Queue if self.is_full(random) => "dequeue",
            Kind::Queue => "enqueue",
            Kind::Stack if self.is_full(random) => "pop",
            Kind::Stack => "push",
            Kind::Set => ["add", "add", "remove", "contains", "contains", "contains"][draw as usize],
            Kind::Counter if draw < 3 => "read",
            Kind::Counter => "add",
            Kind::Mutex if matches!(self.state, State::Mutex(Some(owner)) if owner == process) => "release",
            Kind::Mutex => "acquire",
            Kind::Log if random.below(self.read_every) == 0 => "read",
            Kind::Log => "append",
        };
        let number = match (f, self.domain) {
            ("read" | "get" | "dequeue" | "pop" | "acquire" | "release", _) => 0,
            ("remove" | "contains", _) => random.below(ELEMENTS) as i64,
            ("add", _) if self.kind == Kind::Set => random.below(ELEMENTS) as i64,
            ("add", _) => 1 + random.below(5) as i64,
            (_, Domain::Small(values)) => random.below(values) as i64,
            (_, Domain::Distinct) => {
                self.next += 1;
                self.next
            }
        };
        let mut expected = ValueId::NULL;
        let argument = match f {
            "read" | "get" | "dequeue" | "pop" | "acquire" | "release" => ValueId::NULL,
            "put" | "append" if self.kind == Kind::KeyValue => values.str(&text(number))?,
            "cas" => {
                if let State::Register(value) = self.state {
                    expected = value;
                }
                let new = values.int(number)?;
                values.array(&[expected, new])?
            }
            _ => values.int(number)?,
        };
        Ok(Request { f, argument, number, expected })
    }

    /// Lets the operation take effect.
    pub fn apply(&mut self, request: &Request, process: u64, values: &mut Values) -> Result<Effect, TooMany> {
        let number = request.number;
        let result = match (&mut self.state, request.f) {
            (State::Register(value), "read") => *value,
            (State::Register(value), f) => {
                if f == "cas" && *value != request.expected {
                    return Ok(Effect::Refused);
                }
                self.gone = self.gone.or_else(|| values.as_int(*value));
                *value = values.int(number)?;
                request.argument
            }
            // As a map reads that never had the key.
            (State::Text(text), "get") if text.is_empty() => ValueId::NULL,
            (State::Text(text), "get") => values.str(text)?,
            (State::Text(held), f) => {
                if f == "put" {
                    held.clear();
                    self.gone = self.gone.or(Some(number));
                }
                held.push_str(&text(number));
                request.argument
            }
            (State::Queue(elements), "dequeue") => match elements.pop_front() {
                Some(element) => {
                    self.gone = Some(element);
                    values.int(element)?
                }
                None => ValueId::NULL,
            },
            (State::Queue(elements), _) => {
                elements.push_back(number);
                request.argument
            }
            (State::Stack(elements), "pop") => match elements.pop() {
                Some(element) => {
                    self.gone = Some(element);
                    values.int(element)?
                }
                None => ValueId::NULL,
            },
            (State::Stack(elements), _) => {
                elements.push(number);
                request.argument
            }
            (State::Set(elements), f) => {
                let element = &mut elements[number as usize];
                match f {
                    "contains" => values.bool(*element)?,
                    _ => {
                        *element = f == "add";
                        request.argument
                    }
                }
            }
            (State::Counter(sum), "read") => values.int(*sum)?,
            (State::Counter(sum), _) => {
                *sum += number;
                request.argument
            }
            (State::Mutex(owner), "acquire") => match owner {
                Some(_) => return Ok(Effect::Blocked),
                None => {
                    *owner = Some(process);
                    ValueId::NULL
                }
            },
            (State::Mutex(owner), _) => {
                *owner = None;
                ValueId::NULL
            }
            (State::Log(entries), "read") => values.array(entries)?,
            (State::Log(entries), _) => {
                entries.push(request.argument);
                let offset = values.int(entries.len() as i64 - 1)?;
                let name = values.str("offset")?;
                values.object(&[(name, offset)])?
            }
        };
        Ok(Effect::Done(result))
    }

    /// An operation and a result which it cannot have had if nothing else was open.
    pub fn lie(&self, values: &mut Values) -> Result<(Request, ValueId), TooMany> {
        let mut request = Request { f: "read", argument: ValueId::NULL, number: 0, expected: ValueId::NULL };
        let gone = self.gone.unwrap_or(-1);
        let result = match (&self.state, self.domain) {
            (State::Register(_), Domain::Distinct) => values.int(gone)?,
            (State::Register(value), Domain::Small(domain)) => {
                let other = values.as_int(*value).map_or(0, |value| (value + 1) % domain as i64);
                values.int(other)?
            }
            (State::Text(_), _) => {
                request.f = "get";
                values.str(&text(gone))?
            }
            (State::Queue(_), _) => {
                request.f = "dequeue";
                values.int(gone)?
            }
            (State::Stack(_), _) => {
                request.f = "pop";
                values.int(gone)?
            }
            (State::Set(elements), _) => {
                request.f = "contains";
                request.argument = values.int(0)?;
                values.bool(!elements[0])?
            }
            // Nothing is ever taken away from it, and one is the least that can be added.
            (State::Counter(sum), _) => values.int(sum / 2)?,
            (State::Mutex(owner), _) => {
                request.f = if owner.is_some() { "acquire" } else { "release" };
                ValueId::NULL
            }
            (State::Log(entries), _) => values.array(entries.split_last().map_or(&[], |(_, most)| most))?,
        };
        Ok((request, result))
    }

    fn is_full(&self, random: &mut Random) -> bool {
        let length = match &self.state {
            State::Queue(elements) => elements.len(),
            State::Stack(elements) => elements.len(),
            _ => 0,
        };
        random.below(2 * DEPTH as u64) < length as u64
    }
}

fn text(number: i64) -> String {
    format!("v{number};")
}
