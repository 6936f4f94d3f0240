//! The calls of one register, with the values numbered from 0.

use schism_history::ValueId;

use super::super::super::call::{Call, NEVER as NO_RETURN};
use super::super::super::models::register::Action;
use super::super::super::numbers::Numbers;

/// A value of one register.
pub(crate) type Number = u32;

/// The initial value.
pub(crate) const INITIAL: Number = 0;

/// The return of a call that never returns.
pub(crate) const NEVER: usize = usize::MAX;

/// An operation on one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegisterCall {
    pub action: Action<Number>,
    /// Position of the invocation in the history.
    pub invoked: usize,
    /// Position of the completion. [`NEVER`]: the outcome is unknown.
    pub returned: usize,
    /// Which row of the table this is.
    pub source: usize,
    /// Stands for any number of equal calls; only for writes of unknown outcome.
    pub endless: bool,
}

/// Numbers the values of one register in the order in which they are first seen, so that an engine can keep tables of them.
pub(crate) struct Numbering {
    known: Numbers,
    values: Vec<ValueId>,
}

impl Numbering {
    /// The calls with numbered values, and the numbering.
    pub fn of(calls: &[Call<Action<ValueId>>], initial: ValueId) -> (Vec<RegisterCall>, Self) {
        let mut numbering = Self { known: Numbers::default(), values: Vec::new() };
        numbering.number(initial);
        let calls = calls
            .iter()
            .map(|call| RegisterCall {
                action: match call.action {
                    Action::Read(value) => Action::Read(numbering.number(value)),
                    Action::Write(value) => Action::Write(numbering.number(value)),
                    Action::Cas(expected, new) => {
                        Action::Cas(numbering.number(expected), numbering.number(new))
                    }
                },
                invoked: call.invoked as usize,
                returned: if call.returned == NO_RETURN { NEVER } else { call.returned as usize },
                source: call.source as usize,
                endless: false,
            })
            .collect();
        (calls, numbering)
    }

    fn number(&mut self, value: ValueId) -> Number {
        let next = self.values.len() as Number;
        let number = self.known.of(u64::from(value.raw()), next);
        if number == next {
            self.values.push(value);
        }
        number
    }

    /// How many values there are, the initial one included.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The value with this number.
    pub fn value(&self, number: Number) -> ValueId {
        self.values.get(number as usize).copied().unwrap_or(ValueId::NULL)
    }
}
