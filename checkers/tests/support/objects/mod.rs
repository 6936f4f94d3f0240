//! Plain state machines of all models, on JSON values, written from what the models document. They share nothing with the crate.

mod collections;
mod locks;
mod maps;
mod registers;
mod tallies;

use schism_checkers::linearizable::Model;
use schism_history::Random;
use serde_json::Value;

pub use maps::{KeyValue, form};

/// An operation as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub f: &'a str,
    pub argument: &'a Value,
    pub process: u64,
}

/// Draws what a history is made of.
pub struct Draw<'r> {
    pub random: &'r mut Random,
    /// Values are below this; few values make many coincidences.
    pub values: u64,
    /// Every value is used once: the last one that was.
    pub distinct: Option<u64>,
    /// Whether the events have keys of their own.
    pub keyed: bool,
    /// What stands before keys in arguments.
    pub prefix: String,
}

impl Draw<'_> {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    pub fn one<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }

    /// A value to put in.
    pub fn fresh(&mut self) -> Value {
        match &mut self.distinct {
            Some(last) => {
                *last += 1;
                Value::from(*last)
            }
            None => self.seen(),
        }
    }

    /// A value that somebody may have put in.
    pub fn seen(&mut self) -> Value {
        let values = self.distinct.unwrap_or(self.values).max(1);
        Value::from(1 + self.below(values))
    }
}

/// One object, as a machine that takes operations one by one.
pub trait Object {
    fn start(&self) -> Value;
    /// Every answer it can give in a state, with the state after it; none if it refuses.
    fn outcomes(&self, state: &Value, call: Call<'_>) -> Vec<(Value, Value)>;
    /// Whether what a history says was the result can stand for the answer.
    fn means(&self, call: Call<'_>, result: &Value, answer: &Value) -> bool;
    /// A random operation: its name and its argument.
    fn ask(&self, draw: &mut Draw<'_>) -> (&'static str, Value);
    /// One of the ways in which a history may tell the answer.
    fn tell(&self, draw: &mut Draw<'_>, call: Call<'_>, answer: &Value) -> Value;
    /// An answer of the right shape, likely a wrong one.
    fn invent(&self, draw: &mut Draw<'_>, call: Call<'_>) -> Value;
    /// Whether an operation that succeeded says nothing at all.
    fn is_silent(&self, _call: Call<'_>, _result: &Value) -> bool {
        false
    }
}

/// What the judge must know of the operations that it judges: every number that was mentioned, and how many operations there are.
#[derive(Clone, Debug, Default)]
pub struct Context {
    pub numbers: Vec<i64>,
    pub operations: u64,
    pub initial: Value,
    /// As what an absent key reads.
    pub missing: Value,
}

/// The machine of a model. Without a context, one to simulate.
pub fn object(model: Model, context: Option<&Context>) -> Box<dyn Object> {
    let initial = context.map_or(Value::Null, |context| context.initial.clone());
    let numbers = context.map(|context| context.numbers.clone());
    match model {
        Model::Register => Box::new(registers::Register { cas: false, initial }),
        Model::CasRegister => Box::new(registers::Register { cas: true, initial }),
        Model::VersionedRegister => {
            let highest =
                |context: &Context| context.numbers.iter().max().map_or(0, |max| (*max).max(0) as u64);
            Box::new(registers::Versioned {
                limit: context.map(|context| highest(context) + context.operations),
            })
        }
        Model::MultiRegister => Box::new(maps::Multi { initial }),
        Model::KeyValue => {
            Box::new(KeyValue { missing: context.map_or(Value::Null, |context| context.missing.clone()) })
        }
        Model::Mutex => Box::new(locks::Mutex),
        Model::OwnerLock => Box::new(locks::Lock { reentrant: false, fenced: false, tokens: numbers }),
        Model::ReentrantLock => Box::new(locks::Lock { reentrant: true, fenced: false, tokens: numbers }),
        Model::FencedLock => Box::new(locks::Lock { reentrant: false, fenced: true, tokens: numbers }),
        Model::ReentrantFencedLock => {
            Box::new(locks::Lock { reentrant: true, fenced: true, tokens: numbers })
        }
        Model::Counter => Box::new(tallies::Counter),
        Model::Set => Box::new(tallies::Set),
        Model::FifoQueue => Box::new(collections::FifoQueue),
        Model::UnorderedQueue => Box::new(collections::UnorderedQueue),
        Model::Stack => Box::new(collections::Stack),
        Model::Log => Box::new(tallies::Log),
    }
}

/// The items of a list.
pub fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// Nothing, or the argument again.
pub fn echoes(argument: &Value, result: &Value) -> bool {
    result.is_null() || result == argument
}

/// One of them.
pub fn echo(draw: &mut Draw<'_>, argument: &Value) -> Value {
    if draw.below(2) == 0 { Value::Null } else { argument.clone() }
}
