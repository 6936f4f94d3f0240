//! A map: get, put, append, delete, compare-and-set; each key by itself.
//!
//! # Operations
//!
//! | operation | argument | result |
//! |---|---|---|
//! | `get` (or `read`) | the key | the value |
//! | `put` (or `write`) | the key and the value | null or the argument |
//! | `append` | the key and what is appended | null or the argument |
//! | `delete` | the key | null or the argument |
//! | `cas` | the key, the expected value and the new one | null or the argument |
//!
//! Where the history gives an operation a key of its own (the field `key`, or tuples as Jepsen's `independent` makes them) the argument holds the rest: null
//! for `get` and `delete`, the value for `put` and `append`, `[expected, new]` or `{"old": expected, "new": new}` for `cas`. Otherwise
//! the key stands in the argument, in one of two forms:
//!
//! - an object: `{"key": k}`, `{"key": k, "value": v}`, `{"key": k, "value": [expected, new]}` or `{"key": k, "old": expected, "new": new}`;
//!   the result of a `get` is the value, or an object of exactly the fields `key` and `value`;
//! - a list: `[k, null]`, `[k, v]`, `[k, [expected, new]]`; the result of a `get` is then `[k, v]`. A `get` and a `delete` may also have
//!   the key alone, if it is neither a list nor an object; the result of a `get` is then the value.
//!
//! A key that is absent reads as null, or, where the initial value is given as `""`, as that, as Porcupine's key-value histories have it. `delete` makes a
//! key absent, and so does a `put` of that same value; deleting what is absent succeeds. `append` of a text to a text joins them, of a list
//! to a list too; anything else that is appended becomes the last element of a list. Appending to a value that is neither a text nor a list, or
//! something else to a text, never succeeds. Appending to an absent key gives the text, the
//! list, or the list of the one element. A `cas` that did not match, like everything that was refused, must be recorded as
//! `fail`, and constrains nothing. An operation of unknown outcome may have taken effect at any later time, or never.

mod appends;
mod argument;
mod pieces;
mod said;

use std::sync::Arc;

use schism_history::{Datum, Outcome, Table, ValueId, Values, View};

use super::acknowledgement::{acknowledged, exact};
use super::register;
use crate::linearizable::call::Call;
use crate::linearizable::objects;
use crate::linearizable::specification::{Misfit, Specification};
use argument::{Operation, got};
use said::{Said, Seen, ValueKind};

/// How a key reads that is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// As null.
    #[default]
    Null,
    /// As the empty text.
    EmptyText,
}

/// A map, each key by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValue {
    /// How a key reads that is absent.
    pub missing: Missing,
}

/// A value and its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    id: ValueId,
    value: State,
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing.
    Absent,
    /// A text.
    Text(Arc<str>),
    /// A list.
    List(Arc<[ValueId]>),
    /// Any other value.
    Other(ValueId),
}

/// What an operation does to a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The key holds this.
    Get(Content),
    /// Afterwards it holds this.
    Put(Content),
    /// This is added at the end.
    Append(Content),
    /// It holds nothing afterwards.
    Delete,
    /// It holds the first and afterwards the second.
    Cas(Box<(Content, Content)>),
}

impl KeyValue {
    /// The same calls as those of registers whose initial value is null: the map is linearizable if one of them is. There are several
    /// where it cannot be told which of equal appends made what was read. `None` if null is written where absent keys read
    /// as `""`, or if what is appended cannot be told apart in what is read. Engines that know registers
    /// only can then decide them.
    pub fn as_registers(&self, calls: &[Call<Action>]) -> Option<Vec<Registers>> {
        let said: Vec<_> = calls.iter().map(Call::said).collect();
        registers(&said, |call, _| calls[call].action.text())
    }

    /// The same of the calls that these rows are, without making them: no text is copied, and few are looked at.
    pub fn rows_as_registers(&self, table: &Table, rows: &[u32]) -> Option<Vec<Registers>> {
        let said = objects::calls_by(table, rows, |view| self.said(view)).ok()?;
        registers(&said, |_, id| table.values.as_str(id).unwrap_or_default())
    }

    /// What the operation says, by the numbers of the values.
    fn said(&self, view: &View<'_>) -> Result<Option<Said>, Misfit> {
        exact(view)?;
        let (operation, argument) = Operation::of(view)?;
        let seen = |id| Seen { id, kind: self.kind(view.values(), id) };
        if operation == Operation::Get {
            return match view.outcome() {
                Outcome::Ok => Ok(Some(Said::Get(seen(got(view, argument)?)))),
                Outcome::Fail | Outcome::Unknown => Ok(None),
            };
        }
        acknowledged(view)?;
        Ok(Some(match operation {
            Operation::Put => Said::Put(seen(argument.value)),
            Operation::Append => Said::Append(seen(argument.value)),
            Operation::Delete | Operation::Get => Said::Delete,
            Operation::Cas => {
                let (expected, new) = argument.cas(view)?;
                Said::Cas(seen(expected), seen(new))
            }
        }))
    }

    fn kind(&self, values: &Values, id: ValueId) -> ValueKind {
        match values.get(id) {
            Datum::Null if self.missing == Missing::Null => ValueKind::Absent,
            Datum::Str("") if self.missing == Missing::EmptyText => ValueKind::Absent,
            Datum::Str(_) => ValueKind::Text,
            Datum::Array(_) => ValueKind::List,
            Datum::Null => ValueKind::Null,
            Datum::Bool(_) | Datum::Int(_) | Datum::Number(_) | Datum::Object(_) => ValueKind::Other,
        }
    }

    fn content(&self, values: &Values, Seen { id, kind }: Seen) -> Content {
        let value = match (kind, values.get(id)) {
            (ValueKind::Absent, _) => State::Absent,
            (_, Datum::Str(text)) => State::Text(text.into()),
            (_, Datum::Array(items)) => State::List(items.into()),
            // No value at all is null.
            (ValueKind::Null, _) => State::Other(ValueId::NULL),
            _ => State::Other(id),
        };
        Content { id, value }
    }
}

/// The calls as those of a register.
pub(crate) type Registers = Vec<Call<register::Action<ValueId>>>;

fn registers<'t>(calls: &[Call<Said>], text: impl Fn(usize, ValueId) -> &'t str) -> Option<Vec<Registers>> {
    if calls.iter().any(|call| matches!(call.action, Said::Append(_))) {
        return appends::as_registers(calls, text);
    }
    Some(vec![as_register(calls)?])
}

fn as_register(calls: &[Call<Said>]) -> Option<Registers> {
    use register::Action as To;
    let id = |seen: &Seen| match seen.kind {
        ValueKind::Absent => Some(ValueId::NULL),
        // A null that is not what an absent key reads as: the register's initial value is something else.
        ValueKind::Null => None,
        ValueKind::Text | ValueKind::List | ValueKind::Other => Some(seen.id),
    };
    let translate = |call: &Call<Said>| {
        let action = match &call.action {
            Said::Get(seen) => To::Read(id(seen)?),
            Said::Put(seen) => To::Write(id(seen)?),
            Said::Delete => To::Write(ValueId::NULL),
            Said::Cas(expected, new) => To::Cas(id(expected)?, id(new)?),
            Said::Append(_) => return None,
        };
        Some(Call { action, invoked: call.invoked, returned: call.returned, source: call.source })
    };
    calls.iter().map(translate).collect()
}

impl Specification for KeyValue {
    type Action = Action;
    type State = State;

    fn initial(&self) -> State {
        State::Absent
    }

    fn action(&self, view: &View<'_>) -> Result<Option<Action>, Misfit> {
        let content = |seen| self.content(view.values(), seen);
        Ok(self.said(view)?.map(|said| match said {
            Said::Get(seen) => Action::Get(content(seen)),
            Said::Put(seen) => Action::Put(content(seen)),
            Said::Append(seen) => Action::Append(content(seen)),
            Said::Delete => Action::Delete,
            Said::Cas(expected, new) => Action::Cas(Box::new((content(expected), content(new)))),
        }))
    }

    fn step(&self, state: &State, action: &Action) -> Option<State> {
        match action {
            Action::Get(content) => (content.value == *state).then(|| state.clone()),
            Action::Put(content) => Some(content.value.clone()),
            Action::Delete => Some(State::Absent),
            Action::Cas(contents) => (contents.0.value == *state).then(|| contents.1.value.clone()),
            Action::Append(content) => append(state, content),
        }
    }

    fn part(&self, view: &View<'_>) -> ValueId {
        if view.row.key.is_present() {
            return ValueId::ABSENT;
        }
        Operation::of(view).map_or(ValueId::ABSENT, |(_, argument)| argument.key)
    }

    fn observes(&self, action: &Action) -> bool {
        matches!(action, Action::Get(_))
    }
}

fn append(state: &State, more: &Content) -> Option<State> {
    Some(match (state, &more.value) {
        // An empty text where that is what an absent key reads as.
        (state, State::Absent) if more.id != ValueId::NULL => match state {
            State::Absent | State::Text(_) => state.clone(),
            State::List(items) => State::List([&**items, &[more.id]].concat().into()),
            State::Other(_) => return None,
        },
        (State::Absent, more @ (State::Text(_) | State::List(_))) => more.clone(),
        (State::Absent, _) => State::List([more.id].into()),
        (State::Text(text), State::Text(more)) => State::Text([&**text, &**more].concat().into()),
        (State::List(items), State::List(more)) => State::List([&**items, &**more].concat().into()),
        (State::List(items), _) => State::List([&**items, &[more.id]].concat().into()),
        // No store appends to such a value.
        (State::Text(_) | State::Other(_), _) => return None,
    })
}

#[cfg(test)]
mod tests;
